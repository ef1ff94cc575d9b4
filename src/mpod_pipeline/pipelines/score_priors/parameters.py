"""What may be set of the priors' scoring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, create_model, model_validator

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.method.steps import STEPS


class NovelViewScoring(Parameters):
    """Pictures sampled from a photo, against true ones. Without guidance by default: on the validation split its second
    pass brings trained families 0.2 dB and costs compounds as much.
    """

    objects: PositiveInt = Field(100, description="of the families that were trained on")
    held_out: PositiveInt = Field(12, description="of the family that was not")
    compounds: PositiveInt = Field(12, description="random compounds of primitives")
    views: PositiveInt = Field(8, description="of each, all round")
    steps: PositiveInt = Field(50, description="of DDIM")
    guidance_scale: NonNegativeFloat = 1.0


class CaptionScoring(Parameters):
    """Whether a classifier of true pictures recognises what a caption became. The guidance is Stable Diffusion's own,
    and what was recognised most on the validation split.
    """

    examples: PositiveInt = Field(16, description="products of each family that the classifier learns from")
    captions: PositiveInt = Field(8, description="of each family")
    steps: PositiveInt = 30
    guidance_scale: NonNegativeFloat = 7.5


class WordScoring(Parameters):
    """Whether the classifier recognises what words draw that were learnt from photos."""

    products: PositiveInt = Field(1, description="of each family, whose words are learnt")


#: The settings of the method's steps after the cutout, which is known, by section.
if TYPE_CHECKING:
    MethodParameters = Any
else:
    _SECTIONS = {step.section: (step.settings, step.settings()) for step in STEPS[1:]}
    MethodParameters = create_model("MethodParameters", __base__=Parameters, **_SECTIONS)


class ScorePriorsParameters(Parameters):
    """All scores of both priors. Settings are for the validation split to choose, and the test split to report."""

    split: Literal["validation", "test"] = "test"
    seed: NonNegativeInt = 0
    novel_views: NovelViewScoring = NovelViewScoring()
    captions: CaptionScoring = CaptionScoring()
    words: WordScoring = WordScoring()
    products: PositiveInt = Field(12, description="that are reconstructed, from photo to mesh")
    method: MethodParameters = MethodParameters()

    @model_validator(mode="before")
    @classmethod
    def _one_has_moved(cls, values: Any) -> Any:
        if isinstance(values, dict) and "road" in values:
            raise ValueError("score_priors.road has moved: set score_priors.method")
        return values
