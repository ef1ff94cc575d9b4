"""What no silhouette tells: where the novel-view prior, asked from above, sees that things are hollow.

Its views from above, sampled once, have depths by the depth network. A point that lies well in front of what several of
them see is empty, however solid it looks from the side, if walls stand round it. Then views from the side say how far
out the walls may stand: from above, a flaring rim hides what is under it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import ElevationDeg, Parameters
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.priors.depth import DepthNetwork
from mpod_pipeline.priors.latents import resize
from mpod_pipeline.priors.novel_view import NovelViewPrior
from mpod_pipeline.rendering.cameras import Cameras

#: Cells along the world's edge, in each of which a point is asked for.
CELLS = 56
#: Cells that an empty place is thick at least.
THICK = 3
#: Cells of an empty piece at least.
LEAST_PIECE = 100
#: A piece of which this share lies within walls all round is a vessel's: of mugs, bowls and vases half and more do,
#: of the air at chairs and tables a quarter. That is left to silhouettes, which know better.
ENCLOSED = 0.4
#: Cells of a vessel's cavity at least: of vases a thousand and more, of what is taken for a vessel up to 250.
LEAST_VESSEL = 500
#: So many views must see something in a vessel, for it to be its floor: in a narrow neck, some see walls in the air.
FLOOR_VOTES = 4
#: Views from the side, each of an elevation in degrees and after so many steps of DDIM: a silhouette needs few.
SIDES = 8
SIDE_DEG = 10.0
SIDE_STEPS = 3
#: This share of the points that views see is taken for errors below the base.
LOWEST = 0.02
#: Points per iteration.
POINTS = 2048
#: Density per world unit that is nothing.
EMPTY = 0.1
#: Density of a wall: a layer of two cells lets a tenth of the light through.
SOLID = 30.0
#: Walls lie within so many cells of a cavity.
WALL = 4
#: What is seen with a cavity so many cells before it is its inside.
BEFORE = 3


class CavityParameters(Parameters):
    """How the prior is asked from above, and when it is believed. Angles in degrees, lengths in world units."""

    views: PositiveInt = 10
    elevation_deg: ElevationDeg = Field(58.0, description="the small priors know up to 60")
    steps: PositiveInt = Field(10, description="of DDIM")
    margin: PositiveFloat = Field(0.06, description="a point is empty if it lies so far in front of what is seen there")
    share: float = Field(0.7, gt=0, le=1, description="of the views that see as far as a point must find it empty")
    votes: PositiveInt = Field(2, description="so many views at least must find it empty")
    floor: PositiveFloat = Field(0.1, description="thickness that is left above the base")


def depth_network(prior: NovelViewPrior) -> DepthNetwork:
    """The prior's. Raises SetupError where it has none."""
    if prior.depth is None:
        raise SetupError(
            "The novel-view prior has no depth network, which says how deep hollow things go. Set outline.cavities to "
            "null to do without, or train the small priors: kedro run --pipeline=train_priors --params=priors=FOLDER"
        )
    return prior.depth


@dataclass(frozen=True)
class Cavities:
    """Middles [N, 3] of the world's cells that are empty, and of those round them in which there are walls; points
    [M, 3] of the walls' inside, and the colours [M, 3] that the prior's views see there.
    """

    empty: Tensor
    walls: Tensor
    inside: Tensor
    colours: Tensor

    @classmethod
    def none(cls) -> Cavities:
        return cls(*torch.zeros(4, 0, 3))


@torch.no_grad()
def find_cavities(
    photo: Tensor, prior: NovelViewPrior, photo_elevation_deg: float, bound: float, p: CavityParameters, seed: int
) -> Cavities:
    """What the prior's views of the product in ``photo`` [3, H, W] from above tell. Raises SetupError where it has no
    depth network.
    """
    network = depth_network(prior)

    def looked_at(cameras: Cameras, steps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures [B, 3, R, R], depths, and where the product is, [B, R, R]."""
        angles = cameras.azimuth_deg, cameras.elevation_deg
        pictures = prior.sample(
            photo, *angles, photo_elevation_deg=photo_elevation_deg, steps=steps, guidance_scale=1.0, seed=seed
        )
        depth, there = network(pictures, cameras.elevation_deg)
        return pictures.cpu(), depth.cpu(), there.cpu() > 0

    cells = cell_middles(bound)
    from_above = Cameras.at(torch.arange(p.views) * 360 / p.views, p.elevation_deg)
    pictures, depth, there = looked_at(from_above, p.steps)
    seen = seen_through(cells.view(-1, 3), depth, there, from_above, p).on_grid(CELLS)
    base = cells[..., 2] - base_of(depth, there, from_above) < p.floor
    cavity = of_vessels(deepened(without_dents(seen.empty), (seen.full >= p.votes) | base), seen.hull)
    if not cavity.any():
        return Cavities.none()
    cavity = deepened(cavity, (seen.full >= FLOOR_VOTES) | base)
    from_sides = Cameras.at(torch.arange(SIDES) * 360 / SIDES, SIDE_DEG)
    within = within_silhouettes(cells.view(-1, 3), looked_at(from_sides, SIDE_STEPS)[2], from_sides)
    beside = (within.sum(0) >= SIDES - 1).view(seen.hull.shape)  # one of the views may be wrong
    # and end a cell too low, which would leave a lid
    hull = seen.hull & (beside | F.pad(beside[:, :, :-1], (1, 0)))
    cavity, walls = with_walls(cavity, hull, base, seen, p)
    if cavity.sum() < LEAST_VESSEL:
        return Cavities.none()
    inside = there & seen_in(cavity, from_above, depth, bound)
    colours = resize(pictures, depth.shape[-1]).permute(0, 2, 3, 1)
    return Cavities(cells[cavity], cells[walls], from_above.unproject(depth)[inside], colours[inside])


def with_walls(
    cavity: Tensor, hull: Tensor, base: Tensor, seen: SeenThrough, p: CavityParameters
) -> tuple[Tensor, Tensor]:
    """A vessel's cavity up to its walls, and the cells of these. All are cells [C, C, C] bool; base: those too low."""
    room = ~widened(widened(~hull)) & ~base  # walls take two cells
    cavity = widened(cavity) & room
    cavity |= widened(cavity) & seen.before & room
    near = torch.from_numpy(ndimage.binary_dilation(cavity.numpy(), iterations=WALL))
    under = deepened(cavity, ~near) & base
    beside = widened(widened(cavity)) & ~cavity
    wall = near & (seen.behind >= p.votes) | under | deepened((seen.full >= p.votes) & beside, ~beside)
    return cavity, wall & hull & ~cavity


def seen_in(cavity: Tensor, cameras: Cameras, depth: Tensor, bound: float) -> Tensor:
    """Which pixels of views of a depth [B, R, R] have a cavity, cells [C, C, C] bool, before what they see."""
    seen = cameras.unproject(depth)
    to_camera = F.normalize(cameras.basis[0][:, None, None] - seen, dim=-1)
    before = seen + BEFORE * 2 * bound / CELLS * to_camera
    x, y, z = ((before / bound + 1) / 2 * CELLS).long().clamp(0, CELLS - 1).unbind(-1)
    return cavity[x, y, z] & (before.abs() < bound).all(-1)


@dataclass(frozen=True)
class SeenThrough:
    """Of points. hull: within all silhouettes. empty: and yet empty. before: perhaps so, as half of the views see
    something further off. full: how many views see something there, to the margin; behind: or just before it.
    """

    hull: Tensor  # bool
    empty: Tensor  # bool
    before: Tensor  # bool
    full: Tensor  # integers
    behind: Tensor  # integers

    def on_grid(self, cells: int) -> SeenThrough:
        return SeenThrough(**{name: each.view(cells, cells, cells) for name, each in vars(self).items()})


def seen_through(points: Tensor, depth: Tensor, there: Tensor, cameras: Cameras, p: CavityParameters) -> SeenThrough:
    """What views [B, R, R] tell of points [N, 3].

    A point within all silhouettes is empty if it lies by the margin in front of what enough views see there, and of a
    large enough share of the views that see as far.
    """
    pixels, inside, distance = pixels_of(points, cameras, depth.shape[-1])
    hull = (inside & there[pixels]).all(0)
    further = depth[pixels] - distance
    empty, full, before, behind = (
        told.sum(0)
        for told in (
            further > p.margin,
            further.abs() <= p.margin,
            further > 0,
            (-p.margin <= further) & (further <= 0),
        )
    )
    return SeenThrough(
        hull=hull,
        empty=hull & (empty >= p.votes) & (empty >= p.share * (empty + full)),
        before=hull & (before >= p.votes) & (before >= behind),
        full=full,
        behind=behind,
    )


def within_silhouettes(points: Tensor, there: Tensor, cameras: Cameras) -> Tensor:
    """Whether views see points [N, 3] within the silhouette of what is ``there`` [B, R, R] bool: [B, N]."""
    pixels, inside, _ = pixels_of(points, cameras, there.shape[-1])
    return inside & there[pixels]


def pixels_of(points: Tensor, cameras: Cameras, size: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor, Tensor]:
    """At which pixels of views points [N, 3] are, whether within the picture, and at which distance: [B, N] each."""
    x, y, distance = cameras.project(points).unbind(-1)
    column, row = ((x + 1) / 2 * size).long(), ((1 - y) / 2 * size).long()
    inside = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    view = torch.arange(len(cameras))[:, None]
    return (view, row.clamp(0, size - 1), column.clamp(0, size - 1)), inside, distance


def without_dents(empty: Tensor) -> Tensor:
    """The cells [C, C, C] bool without thin layers and crumbs, which are errors of the views' depths.

    What stays is at least THICK cells thick along every axis, and in one piece of enough cells.
    """
    thick = ndimage.binary_opening(empty.numpy(), np.ones((THICK,) * 3))
    pieces, _ = ndimage.label(thick)
    return torch.from_numpy((np.bincount(pieces.ravel()) >= LEAST_PIECE)[pieces] & thick)


def base_of(depth: Tensor, there: Tensor, cameras: Cameras) -> float:
    """How high the base of what views [B, R, R] see is: the height of their lowest points, except some."""
    height = cameras.unproject(depth)[..., 2]
    return float(height[there].quantile(LOWEST)) if there.any() else 0.0


def deepened(empty: Tensor, stops: Tensor) -> Tensor:
    """The empty cells [C, C, C] bool, and the cells below them as far as the first that stops the hole.

    A hole goes on where no view sees its floor.
    """
    empty = empty.clone()
    for z in range(empty.shape[2] - 2, -1, -1):
        empty[:, :, z] |= empty[:, :, z + 1] & ~stops[:, :, z]
    return empty


def of_vessels(cavity: Tensor, hull: Tensor) -> Tensor:
    """The pieces of a cavity [C, C, C] bool that what else is in the hull encloses enough, level by level."""
    rest = (hull & ~cavity).numpy()
    filled = np.stack([ndimage.binary_fill_holes(level) for level in np.moveaxis(rest, 2, 0)], axis=2)
    pieces, count = ndimage.label(cavity.numpy())
    shares = ndimage.mean(filled, pieces, np.arange(count + 1))
    vessels = np.nan_to_num(shares) >= ENCLOSED
    vessels[0] = False
    return torch.from_numpy(vessels[pieces])


def widened(cavity: Tensor) -> Tensor:
    """The cells [C, C, C] bool and those beside them, which the margin leaves to steep walls."""
    beside = np.zeros((3, 3, 3), bool)
    beside[:, :, 1] = ndimage.generate_binary_structure(2, 1)
    return torch.from_numpy(ndimage.binary_dilation(cavity.numpy(), beside))


def emptiness(field: OutlineField, cells: Tensor, generator: torch.Generator) -> Tensor:
    """How full the cells are that should be empty: a scalar, to be made small.

    It is the mean of the logarithm of 1 + density, at points in some of the cells with these middles [N, 3], N > 0. The
    mean is over the points that are not empty yet. So a lid that is left over a cavity weighs as much as all that was
    in it.
    """
    density = _density_in(field, cells, generator)
    left = density.detach() > EMPTY
    return (density * left).log1p().sum() / left.sum().clamp_min(1)


def transparency(field: OutlineField, cells: Tensor, generator: torch.Generator) -> Tensor:
    """How far the cells that should be walls fall short of a SOLID one: a scalar, to be made small.

    It is the mean shortfall of the logarithm of 1 + density, at points in some of the cells with these middles [N, 3],
    N > 0, over the points that fall short. Behind a hole in a wall a view sees the opposite wall, which may look as
    well.
    """
    lacking = shortfall(field, cells, generator)
    left = lacking.detach() > 0
    return lacking.sum() / left.sum().clamp_min(1)


def shortfall(field: OutlineField, cells: Tensor, generator: torch.Generator) -> Tensor:
    """How far points in some of the cells with these middles [N, 3], N > 0, fall short of a SOLID wall, [POINTS]: the
    logarithm of the factor by which 1 + density is too small there, 0 where it is not.
    """
    return ((1 + SOLID) / (1 + _density_in(field, cells, generator))).clamp_min(1).log()


def inside_colour(field: OutlineField, cavities: Cavities, generator: torch.Generator) -> Tensor:
    """Mean squared difference of the inside's colours, round points that were seen, from those that were seen."""
    some, points = _near_some(cavities.inside, 2, field, generator)
    colour = field.colour(points)
    return (colour - cavities.colours[some].to(colour)).square().mean()


def cell_middles(bound: float) -> Tensor:
    """Those of the world's cells, [CELLS, CELLS, CELLS, 3]; bound: half the world's edge."""
    ticks = ((torch.arange(CELLS) + 0.5) / CELLS * 2 - 1) * bound
    return torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1)


def _density_in(field: OutlineField, cells: Tensor, generator: torch.Generator) -> Tensor:
    """The density at random points, each in one of the cells with these middles [N, 3]: [POINTS]."""
    return field.density(_near_some(cells, 1, field, generator)[1])


def _near_some(points: Tensor, width: int, field: OutlineField, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Which of the points [N, 3], N > 0, are drawn, [POINTS], and a place in a cube of so many cells round each."""
    some = torch.randint(len(points), (POINTS,), generator=generator)
    offset = width * (torch.rand(POINTS, 3, generator=generator) - 0.5)
    return some, (points[some] + 2 * field.settings.bound / CELLS * offset).to(field.device)
