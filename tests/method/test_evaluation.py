"""What is scored, and what is flagged: ground truth out of the photo's frame, a model that lost its product."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.method.cutouts import Cutouts, Reference
from mpod_pipeline.method.evaluation import (
    HIGHEST_PSNR,
    Encoders,
    EvaluationParameters,
    check_frame,
    evaluate,
    janus_scores,
    photo_scores,
)
from tests.geometry.shapes import ball
from tests.method.quick import Ball


def square(start: int, side: int) -> torch.Tensor:
    mask = torch.zeros(32, 32)
    mask[8 : 8 + side, start : start + side] = 1
    return mask


@pytest.mark.parametrize(("start", "side"), [(8, 16), (13, 16), (8, 12), (8, 22)])
def test_a_ground_truth_about_where_the_product_is_passes(start: int, side: int) -> None:
    # Moved by 5 of 16 pixels: 11 / 21 shared; of 12 or 22 pixels a side: 144 / 256 and 256 / 484.
    check_frame(square(start, side)[None], square(8, 16))


@pytest.mark.parametrize(
    ("start", "side", "overlap"), [(14, 16, "45%"), (8, 11, "47%"), (8, 23, "48%"), (28, 4, "0%"), (0, 0, "0%")]
)
def test_one_that_stands_elsewhere_is_refused(start: int, side: int, overlap: str) -> None:
    # Moved by 6: 10 / 22; of 11 or 23 pixels a side: 121 / 256 and 256 / 529; beside it; nowhere.
    with pytest.raises(ProductError, match=rf"overlap by {overlap}"):
        check_frame(square(start, side)[None], square(8, 16))


def test_a_line_of_one_pixel_has_a_box() -> None:
    line = torch.zeros(8, 8)
    line[2:6, 3] = 1
    check_frame(line[None], line)
    with pytest.raises(ProductError, match="overlap by 0%"):
        check_frame(line.T[None], line * (torch.arange(8)[:, None] > 3))


def a_photo(side: int) -> Reference:
    """A dark square in the middle of 32 x 32 pixels."""
    mask = square(16 - side // 2, side).roll(16 - side // 2 - 8, dims=0)
    return Reference((1 - 0.9 * mask).expand(3, -1, -1), mask)


def test_a_model_that_lost_its_product_is_not_praised_for_its_paper() -> None:
    """A small product, and a model without it: over the whole frame that is 24 dB."""
    photo = a_photo(2)
    scores = photo_scores(torch.ones(1, 32, 32, 3), torch.zeros(1, 32, 32), photo)
    assert scores["photo_iou"] == 0.0
    assert scores["photo_psnr"] == pytest.approx(-20 * np.log10(0.9), abs=1e-3)


def test_a_product_thinner_than_a_pixel_is_not_found_by_default() -> None:
    thin = a_photo(4)
    photo = Reference(1 - 0.4 * (1 - thin.picture), 0.4 * thin.mask)
    scores = photo_scores(torch.ones(1, 32, 32, 3), torch.zeros(1, 32, 32), photo)
    assert scores["photo_iou"] == 0.0
    assert scores["photo_psnr"] == pytest.approx(-20 * np.log10(0.36), abs=1e-3)


def test_a_likeness_beyond_what_files_tell_apart_has_a_number() -> None:
    photo = a_photo(8)
    picture = photo.picture.permute(1, 2, 0)[None]
    same = {"photo_psnr": HIGHEST_PSNR, "photo_iou": 1.0, "photo_ciede2000": 0.0}
    assert photo_scores(picture, photo.mask[None], photo) == same
    near = photo_scores(picture + 1e-9, photo.mask[None], photo)
    assert near["photo_psnr"] == HIGHEST_PSNR


@pytest.mark.parametrize(("size", "flags"), [(1.0, []), (0.7, ["photo_iou below 0.8"])])
def test_a_part_that_is_lost_is_flagged(size: float, flags: list[str], cutouts: Cutouts) -> None:
    """The cutout's disc is half the frame wide; a ball of radius 0.449 covers it."""
    p = EvaluationParameters(azimuths=2, resolution=32, sheet_resolution=32, surface_points=100)
    mesh = bake(ball(0.449 * size, 24), lambda points: torch.zeros_like(points), 32)
    made = evaluate(cutouts, Ball(20.0), mesh, None, Encoders([], [], []), p)
    assert made.flags == flags
    assert type(made.scores["pieces"]) is int and type(made.scores["watertight"]) is bool
    assert "psnr" not in made.scores


class Side:
    """Sees the left half's brightness, and the right half's."""

    name = "side"

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return torch.stack([half.mean(dim=(1, 2, 3)) for half in images.chunk(2, dim=3)], dim=1)


def test_a_second_front_is_told_by_what_the_true_back_is_like() -> None:
    front = torch.zeros(3, 8, 8)
    front[:, :, :4] = 1
    back = front.flip(2).expand(2, -1, -1, -1)
    assert janus_scores(front, front.expand(2, -1, -1, -1), back, [Side()]) == {"janus_side": pytest.approx(1.0)}
    assert janus_scores(front, back, back, [Side()]) == {"janus_side": pytest.approx(0.0)}
    assert janus_scores(front, back[:0], back[:0], [Side()]) == {}
