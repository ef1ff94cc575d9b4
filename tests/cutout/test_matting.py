"""The band round a mask's border is worked on in squares: as good as the whole picture at once."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mpod_pipeline.cutout.matting import ROOM, SMOOTHNESS, SQUARE, Tiles, _deep, matte
from mpod_pipeline.cutout.pymatting_ import estimate_alpha_cf


def blurred_star(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """A photo of a star, out of focus, before an uneven backdrop; and its mask, a pixel too large."""
    height, width = size
    angle = np.arange(10) * np.pi / 5
    reach = np.where(np.arange(10) % 2, 0.2, 0.45) * min(size)
    points = np.stack([width / 2 + reach * np.sin(angle), height / 2 + reach * np.cos(angle)], axis=1)
    mask = cv2.fillPoly(np.zeros(size, np.uint8), [points.round().astype(np.int32)], 255)
    alpha = cv2.GaussianBlur(mask, (0, 0), 1.5)[..., None] / 255
    random = np.random.default_rng(0)
    backdrop = 200 + 40 * np.sin(np.linspace(0, 6, width))[:, None] + random.normal(0, 3, (*size, 3))
    photo = (alpha * (120, 40, 30) + (1 - alpha) * backdrop).clip(0, 255).astype(np.uint8)
    return photo, cv2.dilate(mask, np.ones((3, 3))) > 0


def test_squares_give_the_alpha_of_the_whole_picture() -> None:
    photo, mask = blurred_star((3 * SQUARE + 10, 2 * SQUARE + 50))
    trimap = np.where(_deep(mask), 1.0, np.where(_deep(~mask), 0.0, 0.5))
    assert 4 < Tiles.of(trimap).chosen.sum() < Tiles.of(trimap).chosen.size
    whole = estimate_alpha_cf(photo / 255, trimap, laplacian_kwargs={"epsilon": SMOOTHNESS}) * 255
    difference = np.abs(matte(photo, mask)[..., 3] - whole)[trimap == 0.5]
    # What lies beyond the room hardly counts; rounding alone is a quarter of a level on the mean.
    assert difference.mean() < 0.5
    assert difference.max() < 8


@pytest.mark.parametrize("shape", [(1, 1), (SQUARE, SQUARE), (SQUARE + 1, 2 * SQUARE - 1), (300, 3 * SQUARE)])
def test_squares_are_laid_where_they_were_cut(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    picture = random.integers(0, 255, (*shape, 3), np.uint8)
    squares = (-(-shape[0] // SQUARE), -(-shape[1] // SQUARE))
    tiles = Tiles(random.random(squares) < 0.6)
    cut = tiles.cut(picture)
    assert cut.shape == (tiles.chosen.sum(), SQUARE + 2 * ROOM, SQUARE + 2 * ROOM, 3)
    np.testing.assert_array_equal(tiles.laid_on(picture, cut), picture)
    changed = (tiles.laid_on(picture, 255 - cut) != picture).any(axis=2)
    inside = np.kron(tiles.chosen, np.ones((SQUARE, SQUARE), bool))[: shape[0], : shape[1]]
    np.testing.assert_array_equal(changed, inside & (picture != 255 - picture).any(axis=2))


def test_without_both_kinds_of_sure_pixels_the_mask_stays() -> None:
    photo = np.full((200, 150, 3), 90, np.uint8)
    for mask in (np.ones((200, 150), bool), np.zeros((200, 150), bool)):
        np.testing.assert_array_equal(matte(photo, mask)[..., 3] == 255, mask)
