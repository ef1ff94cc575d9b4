"""Points in pictures: each pixel takes the nearest points round its centre, laid over each other like thin discs.

Positions are fixed and everything here but `Splat.of` is without gradients: what a pixel shows is linear in what the
points carry.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf

import torch
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.rendering.cameras import Cameras

#: Points that a pixel shows at most.
NEAREST = 8
#: A point's radius as a share of the picture: Make-It-3D's 2 pixels of 800. And at least so many pixels that one point
#: a pixel leaves no gap.
RADIUS, LEAST_RADIUS = 2 / 800, 0.75
#: Points no further than this behind the nearest one are of the same surface, world units; all others it hides.
THICKNESS = 0.05


@dataclass(frozen=True)
class Splat:
    """Which points pixels show, nearest first, and how much of each. B pictures of R x R pixels, K = `NEAREST`."""

    index: Tensor  # [B, R, R, K] int64; 0 where there is no further one
    weight: Tensor  # [B, R, R, K], 0 there
    depth: Tensor  # [B, R, R] of the surface that the points are, without its pinholes; infinite beside it

    def of(self, values: Tensor) -> Tensor:
        """What points carry, [N, C], as pixels show it on nothing, [B, R, R, C]. Differentiable."""
        index, weight = (each.view(-1, NEAREST) for each in (self.index, self.weight))
        shown = F.embedding_bag(index, values, per_sample_weights=weight, mode="sum")
        return shown.view(*self.depth.shape, -1)

    @property
    def opacity(self) -> Tensor:
        """[B, R, R]"""
        return self.weight.sum(dim=-1)

    @property
    def covered(self) -> Tensor:
        """Where there is a surface, [B, R, R] bool; in pinholes between its points, too."""
        return self.depth.isfinite()


@torch.no_grad()
def splat(points: Tensor, cameras: Cameras, resolution: int) -> Splat:
    """Points [N, 3] as cameras see them.

    A pixel sees 1 - sqrt(0.1 (d / radius)²) of a point whose centre is d pixels from its own (PyTorch3D's weights, as
    Make-It-3D has them), and the rest of what lies behind; of surfaces behind the nearest one, nothing.
    """
    pixel, point, apart, depth = fragments(points, cameras, resolution)
    shape = (len(cameras), resolution, resolution)
    count = torch.bincount(pixel, minlength=shape[0] * shape[1] * shape[2])
    rank = torch.arange(len(pixel), device=pixel.device) - (count.cumsum(0) - count)[pixel]
    nearest = depth.new_full((len(count),), inf)
    nearest[pixel[rank == 0]] = depth[rank == 0]
    surface = without_pinholes(nearest.view(shape))
    shown = (rank < NEAREST) & (depth <= surface.flatten()[pixel] + THICKNESS)
    place = pixel[shown], rank[shown]
    index = pixel.new_zeros(len(count), NEAREST).index_put(place, point[shown])
    alpha = depth.new_zeros(len(count), NEAREST).index_put(place, 1 - (0.1 * apart[shown]).clamp(1e-3, 1).sqrt())
    behind = torch.cat([torch.ones_like(alpha[:, :1]), (1 - alpha).cumprod(dim=1)[:, :-1]], dim=1)
    return Splat(index.view(*shape, NEAREST), (alpha * behind).view(*shape, NEAREST), surface)


def fragments(points: Tensor, cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The pairs of a pixel and a point within whose radius its centre lies, by pixels and the nearest point first:
    index of the pixel, index of the point, (distance / radius)², depth; each [F].
    """
    radius = max(LEAST_RADIUS, RADIUS * resolution)
    x, y, depth = cameras.to(points.device).project(points).unbind(dim=-1)  # [B, N] each
    place = torch.stack([1 - y, 1 + x], dim=-1) * resolution / 2  # row and column
    from_there = torch.arange(ceil(2 * radius), device=points.device)
    first = (place - radius + 0.5).floor().long()  # whose centre is within the radius, down and across
    cell = first[:, :, None] + torch.cartesian_prod(from_there, from_there)  # [B, N, M, 2]
    apart = ((cell + 0.5 - place[:, :, None]) / radius).square().sum(dim=-1)
    inside = (apart < 1) & ((cell >= 0) & (cell < resolution)).all(dim=-1) & (depth > 0)[..., None]
    camera, point, _ = chosen = inside.nonzero(as_tuple=True)
    row, column = cell[chosen].unbind(dim=-1)
    pixel = (camera * resolution + row) * resolution + column
    depth = depth[camera, point].float()
    # bits of positive floats are in the order of the floats
    order = ((pixel << 32) | depth.view(torch.int32).long()).argsort(stable=True)
    return pixel[order], point[order], apart[chosen][order], depth[order]


def without_pinholes(depth: Tensor) -> Tensor:
    """A z-buffer [B, R, R] whose holes of up to two pixels have the depth of what is round them."""
    nearer = -F.max_pool2d(-depth, 3, 1, 1)
    return F.max_pool2d(nearer, 3, 1, 1)
