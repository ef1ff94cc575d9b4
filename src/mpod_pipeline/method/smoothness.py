"""How much a field changes over a short way along a surface.

Score distillation is noisy: without these losses all that the photo does not show is rough and grainy.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.fields.outline_field import OutlineField

#: World units, along every axis, over which normals are taken: two to three cells of conf/base's finest grid.
NORMAL_STEP = 0.03
#: So many points of the surface are asked, and as many others about so many world units away.
POINTS = 1024
DISTANCE = 0.02


def neighbours(surface: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Some of the points [M, 3], M > 0, and for each a near one, both [POINTS, 3]."""
    here = surface[torch.randint(len(surface), (POINTS,), generator=generator).to(surface.device)]
    return here, here + DISTANCE * torch.randn(here.shape, generator=generator).to(here)


def normal_turn(field: OutlineField, here: Tensor, near: Tensor) -> Tensor:
    """Mean squared difference of the normals at points and at their neighbours, a scalar."""
    normals_here, normals_near = field.normals(torch.cat([here, near]), NORMAL_STEP).chunk(2)
    return (normals_here - normals_near).square().sum(dim=-1).mean()


def colour_change(field: OutlineField, here: Tensor, near: Tensor) -> Tensor:
    """Mean absolute difference of the colours, a scalar: nvdiffrec's albedo smoothness (Munkberg et al., 2022)."""
    colour_here, colour_near = field.colour(torch.cat([here, near])).chunk(2)
    return (colour_here - colour_near).abs().mean()
