"""A depth that is told, while the shape is made: a photo of the front cannot show it."""

from __future__ import annotations

import torch

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.masks import opacity_of
from mpod_pipeline.rendering.cameras import Cameras

#: When the outline's depth is brought to the told one, as shares of the steps; and once more at the end.
LOOKS = (0.3, 0.5, 0.7)
#: In which its extents are measured, pixels.
RESOLUTION = 64
#: At once it is stretched by no more than this factor.
MOST = 1.6


def shows_depth(cutouts: Cutouts) -> bool:
    """Whether a photo was taken from a side: then it says what the depth is."""
    return any(45 < photo.azimuth_deg % 180 < 135 for photo in cutouts.others)


@torch.no_grad()
def bring_to_depth(field: OutlineField, axis: int, factor: float) -> None:
    """Stretch the field along x until its extent there is ``factor`` times that along another axis."""
    extents = measured_extents(field)
    if extents[0] > 0 and extents[axis] > 0:
        ratio = factor * extents[axis] / extents[0]
        field.stretch[0] *= min(MOST, max(1 / MOST, ratio))
        field.occupancy.update(0, field.density)


def measured_extents(field: OutlineField) -> tuple[float, float, float]:
    """How far the field reaches along x, y and z, as shares of a frame: by its silhouettes from the front and the right
    at its own height.
    """
    front, right = opacity_of(field, Cameras.at([0.0, 90.0], 0.0), RESOLUTION, 4.0 / RESOLUTION) > 0.5
    across = [float(mask.any(dim=0).sum()) / RESOLUTION for mask in (right, front)]
    return across[0], across[1], float(front.any(dim=1).sum()) / RESOLUTION
