"""Colours of a symmetric product: what no photo shows looks like its counterpart."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.base.parameters import Symmetry
from mpod_pipeline.fields.outline_field import OutlineField, folded
from mpod_pipeline.method.cutouts import Cutouts, turn_deg

#: Points whose direction from the product's axis is further than this from every photo's camera are unseen, degrees.
UNSEEN_DEG = 70.0
#: Points per iteration.
POINTS = 1024


def symmetry_loss(field: OutlineField, surface: Tensor, photos: Cutouts, generator: torch.Generator) -> Tensor:
    """Mean squared difference of the colours at unseen points of a surface [M, 3] from those at their counterparts,
    which get no gradient; 0 where all is seen.
    """
    unseen = surface[is_unseen(surface, photos)]
    if len(unseen) == 0:
        return surface.new_zeros(())
    points = unseen[torch.randint(len(unseen), (POINTS,), generator=generator).to(unseen.device)]
    with torch.no_grad():
        wanted = field.colour(counterparts(points, field.settings.symmetry))
    return (field.colour(points) - wanted).square().mean()


def is_unseen(points: Tensor, photos: Cutouts) -> Tensor:
    """Whether each of the points [M, 3] faces away from all photos, [M]."""
    azimuth = torch.atan2(points[:, 1], points[:, 0]).rad2deg()
    turns = torch.stack([turn_deg(azimuth, photo.azimuth_deg) for photo in photos.photos])
    return turns.amin(dim=0) > UNSEEN_DEG


def counterparts(points: Tensor, symmetry: Symmetry) -> Tensor:
    """Where points [M, 3] have their like, nearest to the front."""
    if symmetry == "left_right":
        return points * points.new_tensor([1.0, -1.0, 1.0])
    return folded(points, "front_back" if symmetry == "both" else symmetry)
