"""What every backend of volume rendering provides: marching through the occupied cells, and compositing.

Distances ``t`` are measured along unit ray directions, in world units; densities are per world unit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mpod_pipeline.rendering.volume.occupancy import OccupancyGrid


@dataclass(frozen=True)
class RaySamples:
    """M intervals on N rays, in the order of the rays and front to back on each ("packed")."""

    ray_index: Tensor  # [M] int64
    t_start: Tensor  # [M]
    t_end: Tensor  # [M]
    ray_offsets: Tensor  # [N + 1] int64; the samples of ray n are ray_offsets[n] : ray_offsets[n + 1]

    def __len__(self) -> int:
        return len(self.ray_index)

    @property
    def n_rays(self) -> int:
        return len(self.ray_offsets) - 1

    def points(self, rays_o: Tensor, rays_d: Tensor) -> Tensor:
        """The intervals' midpoints in the world, [M, 3]."""
        middle = (self.t_start + self.t_end) / 2
        return torch.addcmul(rays_o[self.ray_index], rays_d[self.ray_index], middle[:, None])


@dataclass(frozen=True)
class VolumeRender:
    """What N rays saw, on nothing (see `on_background`)."""

    colour: Tensor  # [N, C], sum_i w_i c_i
    opacity: Tensor  # [N], the paper's OP (Eq. 3, 4)
    depth: Tensor  # [N], mean distance along the ray of what it saw; 0 where it saw nothing
    weights: Tensor  # [M], w_i = T_i (1 - exp(-sigma_i delta_i))


class VolumeRenderer(Protocol):
    def march(
        self,
        rays_o: Tensor,  # [N, 3]
        rays_d: Tensor,  # [N, 3], unit length
        occupancy: OccupancyGrid,
        step_size: float,
        jitter: Tensor | None = None,  # [N] in [0, 1)
    ) -> RaySamples:
        """Intervals of length `step_size` whose midpoints lie in occupied cells.

        The first midpoint lies a fraction `jitter` of a step behind the ray's entry into the box, the others
        follow at whole steps; a uniform jitter makes sums over the samples unbiased estimates of integrals
        along the ray. Without jitter the fraction is a half. Not differentiable.
        """

    def composite(self, density: Tensor, colour: Tensor, samples: RaySamples) -> VolumeRender:
        """Accumulate density [M] and colour [M, C] (any C values to be blended) along the rays.

        Paper Eq. 3, 4: OP = sum_i T_i (1 - exp(-sigma_i delta_i)), T_i = exp(-sum_{j<i} sigma_j delta_j).
        Differentiable once, to density and colour, through all that is returned.
        """


def on_background(colour: Tensor, opacity: Tensor, background: Tensor | float) -> Tensor:
    """Blend colour [..., C] of opacity [...] with a background that broadcasts against it."""
    return colour + (1 - opacity[..., None]) * background


def mean_depth(accumulated: Tensor, opacity: Tensor) -> Tensor:
    """Mean distance [N] from sum_i w_i t_i and the opacity, both [N]."""
    return accumulated / opacity.clamp_min(torch.finfo(opacity.dtype).eps)


def box_intersection(rays_o: Tensor, rays_d: Tensor, bound: float) -> tuple[Tensor, Tensor]:
    """Distances [N] at which rays enter and leave the box [-bound, bound]^3; a miss leaves before it enters.

    A ray that starts inside enters at 0.
    """
    inverse = 1 / rays_d  # infinite where a ray runs along the faces
    first, second = (-bound - rays_o) * inverse, (bound - rays_o) * inverse
    near, far = torch.minimum(first, second), torch.maximum(first, second)
    # A ray that runs exactly within a face gives 0 * inf = NaN there: that pair of faces does not limit it.
    entry = near.where(~near.isnan(), -torch.inf).amax(dim=-1)
    leave = far.where(~far.isnan(), torch.inf).amin(dim=-1)
    return entry.clamp_min(0), leave
