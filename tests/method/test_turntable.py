"""The pictures of a model: what they show, how sharp, and from where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mpod_pipeline.datasets.codecs import CODECS
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.turntable import COLUMNS, FRAMES, sheet_cameras, turntable
from mpod_pipeline.rendering.shading import LIGHT_GREY
from tests.geometry.shapes import ball, box

GREY = round(LIGHT_GREY * 255)
R = 64


def cells(sheet: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    rows = np.split(sheet, len(sheet) // R)
    return [cell for row in rows for cell in np.split(row, COLUMNS, axis=1)]


@pytest.fixture(scope="module")
def sided() -> TexturedMesh:
    """A ball that is red in front, green behind, blue on top and black below."""

    def colour(points: torch.Tensor) -> torch.Tensor:
        x, _, z = points.unbind(dim=-1)
        steep = z.abs() > 0.4
        return torch.stack([(x > 0) & ~steep, (x <= 0) & ~steep, steep & (z > 0)], dim=-1).float()

    return bake(ball(0.6, 32), colour, 256)


@pytest.fixture(scope="module")
def fine_cutout() -> NDArray[np.uint8]:
    """A square of stripes, each two pixels of a sheet's cell wide."""
    cutout = np.zeros((4 * R, 4 * R, 4), np.uint8)
    cutout[R : 3 * R, R : 3 * R, 3] = 255
    cutout[..., :3] = 255 * (np.arange(4 * R) // 8 % 2)[None, :, None]
    return cutout


def test_the_photo_is_as_sharp_as_the_sheet(fine_cutout: NDArray[np.uint8], sided: TexturedMesh) -> None:
    photo = cells(turntable(Cutouts.of(fine_cutout, 10.0), sided, R).sheet)[0]
    inside = photo[R // 2, R // 4 + 2 : 3 * R // 4 - 2, 0].astype(int)
    assert inside.min() < 40 and inside.max() > 215  # a view of a quarter of the size would be grey
    assert (photo[2, 2] == GREY).all()


def test_the_first_view_is_the_photos_and_then_it_goes_round_above_and_below(sided: TexturedMesh) -> None:
    cameras = sheet_cameras(25.0)
    assert (float(cameras.azimuth_deg[0]), float(cameras.elevation_deg[0])) == (0.0, 25.0)
    cutout = np.zeros((R, R, 4), np.uint8)
    _, front, *sides, above, above_behind, below = cells(turntable(Cutouts.of(cutout, 0.0), sided, R).sheet)
    middle = [cell[R // 2, R // 2].tolist() for cell in (front, sides[3], above, above_behind, below)]
    assert middle == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 255], [0, 0, 0]]
    assert len(sides) == 7


def test_a_white_product_is_seen(tmp_path: Path) -> None:
    white = bake(box(), torch.ones_like, 64)
    cutout = np.full((R, R, 4), 255, np.uint8)
    cutout[: R // 4, :, 3] = 0
    pictures = turntable(Cutouts.of(cutout, 10.0), white, R)
    photo, front, *_ = cells(pictures.sheet)
    for cell in (photo, front, pictures.turn[0]):
        assert cell[len(cell) // 2, len(cell) // 2].min() == 255
        assert cell[2, 2].max() == GREY <= 225


def test_the_turn_is_one_small_file_that_goes_round(sided: TexturedMesh, tmp_path: Path) -> None:
    turn = turntable(Cutouts.of(np.zeros((R, R, 4), np.uint8), 0.0), sided, R).turn
    assert turn.shape == (FRAMES, 3 * R // 4, 3 * R // 4, 3)
    centre = 3 * R // 8
    assert turn[0, centre, centre].tolist() == [255, 0, 0]
    assert turn[FRAMES // 2, centre, centre].tolist() == [0, 255, 0]
    codec = CODECS["animation"]
    codec.write(turn, tmp_path / "mug.webp")
    again = codec.read(tmp_path / "mug.webp")
    assert again.shape == turn.shape
    assert np.median(np.abs(again.astype(int) - turn)) < 4
