"""What no silhouette tells: where the novel-view prior, asked from above, sees that things are hollow.

Its views from above, sampled once, have depths by the depth network. A point that lies well in front of what several of
them see is empty, however solid it looks from the side.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import ndimage
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import ElevationDeg, Parameters
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.priors.depth import DepthNetwork
from mpod_pipeline.priors.novel_view import NovelViewPrior
from mpod_pipeline.rendering.cameras import Cameras

#: Cells along the world's edge, in each of which a point is asked for.
CELLS = 56
#: Cells that an empty place is thick at least.
THICK = 3
#: Cells of an empty piece at least.
LEAST_PIECE = 100
#: This share of the points that views see is taken for errors below the base.
LOWEST = 0.02
#: Points a step.
POINTS = 2048
#: Density per world unit that is nothing.
EMPTY = 0.1


class CavityParameters(Parameters):
    """How the prior is asked from above, and when it is believed. Angles in degrees, lengths in world units."""

    views: PositiveInt = 10
    elevation_deg: ElevationDeg = Field(58.0, description="the small priors know up to 60")
    steps: PositiveInt = Field(10, description="of DDIM")
    margin: PositiveFloat = Field(0.06, description="by how much a point must lie in front of what is seen there")
    share: float = Field(0.7, gt=0, le=1, description="of the views that see as far as a point, and find it empty")
    votes: PositiveInt = Field(2, description="of so many views at least")
    floor: PositiveFloat = Field(0.12, description="thickness that is left above the base where no view sees a floor")


def depth_network(prior: NovelViewPrior) -> DepthNetwork:
    """The prior's. Raises SetupError where it has none."""
    if prior.depth is None:
        raise SetupError(
            "The novel-view prior has no depth network, which says how deep hollow things go. Set outline.cavities to "
            "null to do without, or train the small priors: kedro run --pipeline=train_priors"
        )
    return prior.depth


@torch.no_grad()
def empty_cells(
    photo: Tensor, prior: NovelViewPrior, photo_elevation_deg: float, bound: float, p: CavityParameters, seed: int
) -> Tensor:
    """The middles [N, 3] of the world's cells that are empty, as far as the prior's views of the product in ``photo``
    [3, H, W] tell. Raises SetupError where it has no depth network.
    """
    network = depth_network(prior)
    cameras = Cameras.at(torch.arange(p.views) * 360 / p.views, p.elevation_deg)
    pictures = prior.sample(
        photo,
        cameras.azimuth_deg,
        cameras.elevation_deg,
        photo_elevation_deg=photo_elevation_deg,
        steps=p.steps,
        guidance_scale=1.0,
        seed=seed,
    )
    depth, there = network(pictures, cameras.elevation_deg)
    ticks = ((torch.arange(CELLS) + 0.5) / CELLS * 2 - 1) * bound
    cells = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1)
    empty, full = seen_through(cells.view(-1, 3), depth.cpu(), there.cpu() > 0, cameras, p)
    cavity = without_dents(empty.view(cells.shape[:3]))
    floor = base_of(depth.cpu(), there.cpu() > 0, cameras) + p.floor
    return cells[deepened(cavity, full.view(cells.shape[:3]) | (cells[..., 2] < floor))]


def seen_through(
    points: Tensor, depth: Tensor, there: Tensor, cameras: Cameras, p: CavityParameters
) -> tuple[Tensor, Tensor]:
    """Which points [N, 3] are empty, though no silhouette of views [B, R, R] says so, and at which enough views see
    something, [N] bool each. Empty are those that lie by the margin in front of what at least so many views see, and
    such a share of those that see as far.
    """
    seen = cameras.project(points)  # [B, N, 3]
    size = depth.shape[-1]
    column, row = (((seen[..., 0] + 1) / 2 * size).long(), ((1 - seen[..., 1]) / 2 * size).long())
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    view = torch.arange(len(cameras))[:, None]
    at = view, row.clamp(0, size - 1), column.clamp(0, size - 1)
    in_hull = (inside & there[at]).all(0)
    before = depth[at] - seen[..., 2]
    empty, full = (before > p.margin).sum(0), (before.abs() <= p.margin).sum(0)
    return in_hull & (empty >= p.votes) & (empty >= p.share * (empty + full)), full >= p.votes


def without_dents(empty: Tensor) -> Tensor:
    """What of the cells [C, C, C] bool is at least THICK cells thick along every axis, and in one piece of at least so
    many: thin layers before a surface and crumbs are errors of its depth.
    """
    thick = ndimage.binary_opening(empty.numpy(), np.ones((THICK,) * 3))
    pieces, _ = ndimage.label(thick)
    return torch.from_numpy((np.bincount(pieces.ravel()) >= LEAST_PIECE)[pieces] & thick)


def base_of(depth: Tensor, there: Tensor, cameras: Cameras) -> float:
    """How high the base of what views [B, R, R] see is: the height of their lowest points, but for some."""
    rays_o, rays_d = cameras.rays(depth.shape[-1], depth.shape[-1])
    along = torch.einsum("bhwc,bc->bhw", rays_d, cameras.basis[3])
    height = (rays_o + rays_d * (depth / along)[..., None])[..., 2]
    return float(height[there].quantile(LOWEST)) if there.any() else 0.0


def deepened(empty: Tensor, stops: Tensor) -> Tensor:
    """The empty cells [C, C, C] bool and, as a hole whose floor no view sees goes on, those below them as far as
    the first that stops it.
    """
    empty = empty.clone()
    for z in range(empty.shape[2] - 2, -1, -1):
        empty[:, :, z] |= empty[:, :, z + 1] & ~stops[:, :, z]
    return empty


def emptiness(field: OutlineField, cells: Tensor, generator: torch.Generator) -> Tensor:
    """The logarithm of 1 + density at points in some of the cells with these middles [N, 3], N > 0: its mean over those
    that are not empty yet, a scalar.

    So a lid that is left over a cavity weighs as much as all that was in it.
    """
    some = torch.randint(len(cells), (POINTS,), generator=generator)
    cell = 2 * field.settings.bound / CELLS
    points = cells[some] + cell * (torch.rand(POINTS, 3, generator=generator) - 0.5)
    density = field.density(points.to(field.device))
    left = density.detach() > EMPTY
    return (density * left).log1p().sum() / left.sum().clamp_min(1)
