"""What photos from all round make solid: deep within all silhouettes, and not in the hull's corners."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cavities import CELLS, SOLID, cell_middles, shortfall
from mpod_pipeline.method.cutouts import Cutout, Cutouts
from mpod_pipeline.method.evaluation import draw_field
from mpod_pipeline.method.outline import OutlineWeights, optimize_outline
from mpod_pipeline.method.visual_hull import core_of_hull, deep_within
from mpod_pipeline.priors import NovelViewPrior
from mpod_pipeline.rendering.cameras import Cameras
from tests.method.conftest import SMALL_FIELD
from tests.method.quick import QUICK_OUTLINE

R, CELL = 96, 2 / CELLS
#: From points [..., 3] to whether they are in a thing.
Inside = Callable[[Tensor], Tensor]


def can(points: Tensor) -> Tensor:
    return (points[..., :2].norm(dim=-1) < 0.4) & (points[..., 2].abs() < 0.5)


def board(points: Tensor) -> Tensor:
    return (points.abs() < torch.tensor([0.5, 0.6, 0.06])).all(dim=-1)


def photographed(thing: Inside, elevation: float = 5.0) -> Cutouts:
    """Its red photos from the front, the right, the back and the left, by rays."""
    photos = []
    for name, azimuth in {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}.items():
        origin, direction = Cameras.at(azimuth, elevation).rays(R, R)
        points = origin[..., None, :] + torch.linspace(1.2, 3.8, 260)[:, None] * direction[..., None, :]
        picture = np.zeros((R, R, 4), np.uint8)
        picture[thing(points).any(dim=-1)[0].numpy()] = 200, 30, 30, 255
        photos.append(Cutout(picture, elevation, azimuth, name))
    return Cutouts(tuple(photos))


@pytest.mark.parametrize("thing", [can, board])
def test_the_core_lies_within_and_is_most_of_it(thing: Inside) -> None:
    core = core_of_hull(photographed(thing), 1.0)
    off = torch.tensor([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * CELL
    assert thing(core[:, None] + off[None]).any(dim=1).float().mean() > 0.97  # to a cell
    middles = cell_middles(1.0)
    assert len(core) > 0.4 * int(thing(middles).sum())
    assert not (core[:, :2].norm(dim=-1) > 0.4 + CELL).any() or thing is board


def test_a_thing_of_one_cell_is_all_core_and_each_piece_has_its_own() -> None:
    section = np.zeros((12, 12), bool)
    section[1, 1] = section[4:11, 4:11] = True
    deep = deep_within(section)
    assert deep[1, 1] and deep[7, 7] and not deep[4].any()
    assert not deep_within(np.zeros((3, 3), bool)).any()


def test_what_is_known_to_be_empty_is_no_core() -> None:
    middles = cell_middles(1.0).view(-1, 3)
    hole = middles[(middles[:, :2].norm(dim=-1) < 0.2) & (middles[:, 2] > 0)]
    core = core_of_hull(photographed(can), 1.0, empty=hole)
    distances = torch.cdist(core, hole).amin(dim=1)
    assert distances.min() > CELL / 2


def test_the_shortfall_is_that_of_the_logarithm_and_raises_density() -> None:
    field = OutlineField(SMALL_FIELD)
    nothing, cells = torch.full((1, 3), 0.95), torch.full((1, 3), 0.3)  # far from the blob, and at its edge
    loss = shortfall(field, nothing, torch.Generator().manual_seed(0)).mean()
    assert float(loss.detach()) == pytest.approx(np.log(1 + SOLID), abs=0.1)
    before = float(field.density(cells).detach())
    optimizer = torch.optim.Adam(field.parameters(), 0.02)
    for _ in range(20):
        optimizer.zero_grad()
        shortfall(field, cells, torch.Generator().manual_seed(0)).mean().backward()
        optimizer.step()
    assert float(field.density(cells).detach()) > before + 1


def test_a_board_that_all_photos_see_edge_on_is_solid_from_above(novel_view: NovelViewPrior) -> None:
    photos = photographed(board, elevation=3.0)
    seen = {}
    for solidity in (0.0, 1.0):
        p = QUICK_OUTLINE.model_copy(update={"steps": 160, "weights": OutlineWeights(solidity=solidity)})
        field = optimize_outline(photos, novel_view, p, 0, lambda *_: None).field
        seen[solidity] = float(draw_field(field, Cameras.at(0.0, 80.0), 32)[1][0, 12:20, 12:20].mean())
    assert seen[1.0] > seen[0.0] + 0.3
