"""Smoothness in closed form, on a ball."""

import pytest
import torch
from torch import Tensor

from mpod_pipeline.method.smoothness import DISTANCE, POINTS, colour_change, neighbours, normal_turn


class Ball:
    """A ball of radius 1 whose colour grows along x."""

    def normals(self, points: Tensor, step: float) -> Tensor:
        return torch.nn.functional.normalize(points, dim=-1)

    def colour(self, points: Tensor) -> Tensor:
        return points[:, :1].expand(-1, 3)


def test_smoothness_is_that_of_a_ball() -> None:
    """On a unit ball normals turn by the way along the surface, which has two of the step's three directions."""
    generator = torch.Generator().manual_seed(0)
    surface = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator), dim=-1)
    here, near = neighbours(surface, generator)
    assert here.shape == near.shape == (POINTS, 3)
    turn = float(normal_turn(Ball(), here, near))  # type: ignore[arg-type]
    assert turn == pytest.approx(2 * DISTANCE**2, rel=0.1)
    change = float(colour_change(Ball(), here, near))  # type: ignore[arg-type]
    assert change == pytest.approx(DISTANCE * (2 / torch.pi) ** 0.5, rel=0.1)
