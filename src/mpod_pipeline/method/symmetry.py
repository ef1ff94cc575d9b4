"""Colours of a symmetric product: what no photo shows looks like its counterpart."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.base.parameters import Symmetry
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutouts

#: Points whose direction from the product's axis is further than this from every photo's camera are unseen, degrees.
UNSEEN_DEG = 70.0
#: Points a step.
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
    turns = torch.stack([(azimuth - photo.azimuth_deg + 180) % 360 - 180 for photo in photos.photos])
    return turns.abs().amin(dim=0) > UNSEEN_DEG


def counterparts(points: Tensor, symmetry: Symmetry) -> Tensor:
    """Where points [M, 3] have their like, nearest to the front."""
    x, y, z = points.unbind(dim=-1)
    if symmetry == "revolution":
        return torch.stack([torch.hypot(x, y), torch.zeros_like(y), z], dim=-1)
    if symmetry in ("front_back", "both"):
        x = x.abs()
    if symmetry == "left_right":
        y = -y
    return torch.stack([x, y, z], dim=-1)
