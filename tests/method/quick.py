"""What tests of the method share: a field whose shape is known, and settings that are quick."""

from __future__ import annotations

import torch

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.detail import DetailParameters, DetailWeights
from mpod_pipeline.method.guidance.novel_view import NovelViewSds
from mpod_pipeline.method.inpainting import InpaintingParameters
from mpod_pipeline.method.masks import MaskParameters
from mpod_pipeline.method.outline import OutlineParameters
from mpod_pipeline.priors.sds import SdsParameters
from tests.method.conftest import SMALL_FIELD

SIGMA, RADIUS = 3.0, 0.5


class Ball(OutlineField):
    """A homogeneous ball."""

    def __init__(self, sigma: float = SIGMA) -> None:
        super().__init__(SMALL_FIELD)
        self.sigma = sigma

    def density(self, points: torch.Tensor) -> torch.Tensor:
        return self.sigma * (points.norm(dim=-1) < RADIUS).float()


QUICK_OUTLINE = OutlineParameters(
    steps=40,
    field=SMALL_FIELD,
    resolutions=(16, 24),
    step_size=0.08,
    table_learning_rate=0.02,
    sds=NovelViewSds(guidance_scale=1.0, weight=0.01),
    cavities=None,
)
QUICK_MASKS = MaskParameters(azimuths=4, elevations_deg=(0.0,), resolution=32)
QUICK_DETAIL = DetailParameters(
    steps=4,
    grid_resolution=16,
    resolution=32,
    sds=SdsParameters(guidance_scale=5.0, start=(0.02, 0.5), end=(0.02, 0.3), weight=2.0),
    inpainting=InpaintingParameters(colour=0.0, features=0.0),
    weights=DetailWeights(outline_colour=100.0),
)
