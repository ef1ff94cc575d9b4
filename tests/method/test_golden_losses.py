"""The method's own losses, step by step, as they were when the parts that other methods share were taken out of it.

``python -m tests.method.test_golden_losses`` writes the present ones down; do so only where the method has changed.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.detail import DetailParameters, refine_detail
from mpod_pipeline.method.masks import MaskParameters, export_masks
from mpod_pipeline.method.outline import OutlineParameters, optimize_outline
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior, load_novel_view_prior, load_text_to_image_prior
from tests.method.conftest import SMALL_FIELD, disc
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

STATE = Path(__file__).with_name("golden_losses.json")
MASKS = MaskParameters(azimuths=4, elevations_deg=(0.0,), resolution=32)
OUTLINES = {
    "outline": OutlineParameters(steps=4, field=SMALL_FIELD, resolutions=(16, 24), cavities=None),
    "outline of the paper": OutlineParameters(
        steps=4,
        field=SMALL_FIELD,
        resolutions=(16,),
        cavities=None,
        reference_probability=0.25,
        colours_choose_depths=True,
    ),
}
_SDS = {"guidance_scale": 5.0, "start": (0.02, 0.5), "end": (0.02, 0.3), "weight": 2.0}
DETAILS = {
    "detail": DetailParameters(steps=4, grid_resolution=12, resolution=32),
    "detail of the paper": DetailParameters.model_validate(
        {
            "steps": 4,
            "grid_resolution": 12,
            "resolution": 32,
            "sds": _SDS,
            "inpainting": {"colour": 0.0, "features": 0.0},
            "reference_probability": 0.25,
            "shading": {"lambertian": 0.5},
        }
    ),
}
Losses = list[dict[str, float]]


def outline_losses(name: str, prior: NovelViewPrior) -> Losses:
    seen: Losses = []
    optimize_outline(Cutouts.of(disc(), 0.0), prior, OUTLINES[name], 0, lambda step, steps, losses: seen.append(losses))
    return seen


def detail_losses(name: str, prior: TextToImagePrior) -> Losses:
    field = OutlineField(SMALL_FIELD, seed=0)
    field.occupancy.update(0, field.density, generator=torch.Generator().manual_seed(0))
    seen: Losses = []
    token = prior.word_embedding("a")
    masks, photos = export_masks(field, MASKS), Cutouts.of(disc(), 0.0)
    refine_detail(photos, token, field, masks, prior, DETAILS[name], 0, lambda step, steps, losses: seen.append(losses))
    return seen


def same(now: Losses, then: Losses) -> None:
    assert [step.keys() for step in now] == [step.keys() for step in then]
    for step, before in zip(now, then, strict=True):
        # another processor rounds otherwise, and optimisations carry that along
        np.testing.assert_allclose([*step.values()], [*before.values()], rtol=1e-3)


@pytest.mark.parametrize("name", OUTLINES)
def test_stage_1_is_what_it_was(name: str, novel_view: NovelViewPrior) -> None:
    same(outline_losses(name, novel_view), json.loads(STATE.read_text())[name])


@pytest.mark.parametrize("name", DETAILS)
def test_stage_2_is_what_it_was(name: str, text_to_image: TextToImagePrior) -> None:
    same(detail_losses(name, text_to_image), json.loads(STATE.read_text())[name])


def present_losses() -> dict[str, Losses]:
    with tempfile.TemporaryDirectory() as folder:
        novel_view = load_novel_view_prior(save_tiny_novel_view(Path(folder) / "novel_view"), precision="float32")
        text = load_text_to_image_prior(save_tiny_text_to_image(Path(folder) / "text"), precision="float32")
    return {
        **{name: outline_losses(name, novel_view) for name in OUTLINES},
        **{name: detail_losses(name, text) for name in DETAILS},
    }


if __name__ == "__main__":
    STATE.write_text(json.dumps(present_losses(), indent=1) + "\n")
