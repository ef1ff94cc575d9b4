"""The occupancy grid: its threshold, its forgetting, which cells it looks at."""

import pytest
import torch
from torch import Tensor

from mpod_pipeline.rendering.volume import OccupancyGrid


def half_space(points: Tensor) -> Tensor:
    return 4.0 * (points[:, 0] > 0)


def test_all_cells_are_occupied_before_the_first_update() -> None:
    assert OccupancyGrid(4, 1.0, threshold=0.5).occupied.all()


def test_cells_are_indexed_by_x_y_z() -> None:
    grid = OccupancyGrid(4, 2.0, threshold=0.5)
    grid.update(0, lambda p: ((p[:, 0] > 1) & (p[:, 1] < -1) & (p[:, 2].abs() < 1)).float())
    expected = torch.zeros(4, 4, 4, dtype=torch.bool)
    expected[3, 0, 1:3] = True
    assert torch.equal(grid.occupied, expected)
    points = torch.tensor([[1.5, -1.5, 0.5], [-1.5, 1.5, 0.5], [1.5, -1.5, 5.0]])
    assert grid.contains(points).tolist() == [True, False, False]


@pytest.mark.parametrize(("density", "occupied"), [(0.4, 0.125), (9.0, 0.5)])
def test_threshold_is_the_lesser_of_mean_and_limit(density: float, occupied: float) -> None:
    # An eighth of the space holds `density`, three eighths 0.1 of it. The means are 0.065 and 1.46, the limit
    # 0.5: 0.04 of 0.4 lies under its mean, 0.9 of 9 over the limit.
    def field(points: Tensor) -> Tensor:
        dense = (points > 0).all(dim=-1)
        thin = (points[:, 0] > 0) & ~dense
        return density * dense + 0.1 * density * thin

    grid = OccupancyGrid(8, 1.0, threshold=0.5)
    grid.update(0, field)
    assert grid.occupied.float().mean().item() == occupied


def test_density_is_a_maximum_that_decays() -> None:
    grid = OccupancyGrid(2, 1.0, threshold=0.5, decay=0.5)
    grid.update(0, half_space, every=1)
    assert grid.density[1].unique().tolist() == [4.0]
    grid.update(1, lambda p: torch.full((len(p),), 0.1), every=1)
    assert grid.density[1].unique().tolist() == [2.0]
    assert grid.density[0].unique().tolist() == pytest.approx([0.1])


def test_updates_come_every_so_many_steps_and_for_half_the_cells_after_warming_up() -> None:
    grid = OccupancyGrid(8, 1.0, threshold=0.5)
    seen: list[int] = []

    def count(points: Tensor) -> Tensor:
        seen.append(len(points))
        return half_space(points)

    for step in range(0, 40):
        grid.update(step, count, every=8, warmup=16)
    assert seen == [512, 512, 256, 256, 256]


def test_points_are_jittered_within_their_cells() -> None:
    grid = OccupancyGrid(4, 1.0, threshold=0.5)
    seen: list[Tensor] = []

    def remember(points: Tensor) -> Tensor:
        seen.append(points)
        return half_space(points)

    for _ in range(2):
        grid.update(0, remember, generator=torch.Generator().manual_seed(len(seen)))
    cells = [((points + 1) * 2).floor() for points in seen]
    assert torch.equal(cells[0], cells[1])
    assert len(cells[0].unique(dim=0)) == 64
    assert (seen[0] != seen[1]).all()


def test_state_is_saved() -> None:
    grid, other = OccupancyGrid(4, 1.0, threshold=0.5), OccupancyGrid(4, 1.0, threshold=0.5)
    grid.update(0, half_space)
    other.load_state_dict(grid.state_dict())
    assert torch.equal(grid.occupied, other.occupied)
    assert not other.occupied.all()
