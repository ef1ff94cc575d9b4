"""The outline's masks (paper section 3.2, Eq. 3-5): what stage 2 may paint on, from fixed cameras."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import ElevationDeg, Parameters
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutouts, turn_deg
from mpod_pipeline.rendering.cameras import Cameras

#: A view turned further than this from every photo's is unseen, degrees.
UNSEEN_DEG = 45.0


class MaskParameters(Parameters):
    """The recorded cameras: ``azimuths`` evenly round the product at each elevation (degrees)."""

    azimuths: PositiveInt = 12
    elevations_deg: tuple[ElevationDeg, ...] = Field((0.0, 30.0), min_length=1)
    resolution: PositiveInt = 96
    threshold: float = Field(0.5, gt=0, lt=1, description="Eq. 5")
    step_size: PositiveFloat = Field(0.03, description="world units along the ray")


@dataclass(frozen=True)
class OutlineMasks:
    """Opacity and mask per view; view i was seen from (azimuth_deg[i], elevation_deg[i])."""

    opacity: NDArray[np.float32]  # [N, H, W]
    mask: NDArray[np.bool_]  # [N, H, W], opacity >= threshold
    azimuth_deg: NDArray[np.float32]  # [N]
    elevation_deg: NDArray[np.float32]  # [N]

    def unseen_by(self, photos: Cutouts) -> NDArray[np.bool_]:
        """Which views are turned so far from all photos that none shows them, [N]."""
        turns = [turn_deg(self.azimuth_deg, photo.azimuth_deg) for photo in photos.photos]
        return np.min(turns, axis=0) > UNSEEN_DEG

    def __getitem__(self, view: NDArray[np.int64]) -> OutlineMasks:
        """Those of some views."""
        return OutlineMasks(self.opacity[view], self.mask[view], self.azimuth_deg[view], self.elevation_deg[view])


def mask_cameras(p: MaskParameters) -> Cameras:
    azimuth = torch.arange(p.azimuths).float() * 360 / p.azimuths
    elevation = torch.tensor(p.elevations_deg)
    return Cameras.at(azimuth.repeat(len(elevation)), elevation.repeat_interleave(p.azimuths))


def opacity_of(field: OutlineField, cameras: Cameras, resolution: int, step_size: float) -> Tensor:
    """What cameras see of a field without its colours (Eq. 3, 4), [B, R, R] in [0, 1], on the CPU."""
    return field.seen_by(cameras, resolution, step_size, colours=False).opacity.cpu()


def export_masks(field: OutlineField, parameters: MaskParameters) -> OutlineMasks:
    """Accumulate opacity along each ray without colour (Eq. 3, 4), and threshold it (Eq. 5).

    Args:
        field: The outline.
        parameters: From where it is looked at, and at which resolution.

    Returns:
        Opacity and mask of each view.

    Raises:
        ProductError: Some view shows nothing.
    """
    cameras = mask_cameras(parameters)
    seen = opacity_of(field, cameras, parameters.resolution, parameters.step_size)
    opacity = seen.numpy().astype(np.float32)
    mask = opacity >= parameters.threshold
    if not mask.any(axis=(1, 2)).all():
        raise ProductError("The outline is empty from some side; the photo may not show one solid product.")
    return OutlineMasks(opacity, mask, cameras.azimuth_deg.numpy(), cameras.elevation_deg.numpy())
