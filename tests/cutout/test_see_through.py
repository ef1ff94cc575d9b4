"""Glass is told from what is solid: by alpha, and by the page that is seen through it."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.cutout.flags import TRANSPARENT
from mpod_pipeline.cutout.see_through import by_alpha, by_page
from mpod_pipeline.method.segmentation import SegmentationModels, SegmentationParameters, load_segmentation_models
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.steps.segment import make
from tests.command import ROOT

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def models() -> SegmentationModels:
    return load_segmentation_models(SegmentationParameters())


def checked(photo: bytes, models: SegmentationModels) -> dict[str, object]:
    inputs = {"photo": photo, "mask": None, "further_photos": None}
    settings = SegmentationParameters(photo_elevation_deg=10.0)
    check: dict[str, object] = make(models, Given("product", inputs, settings))["cutout_checks"]
    return check


def as_png(picture: Picture) -> bytes:
    order = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    return cv2.imencode(".png", cv2.cvtColor(picture, order))[1].tobytes()


def disc(alpha: int, radius: int = 80) -> Picture:
    """A brown disc of a radius of 100 pixels; so much of its middle is half transparent."""
    cutout = np.full((256, 256, 4), (120, 90, 60, 0), np.uint8)
    for size, level in ((100, 255), (radius, alpha)):
        plate = cutout[..., 3].copy()
        cv2.circle(plate, (128, 128), size, level, -1)
        cutout[..., 3] = plate
    return cutout


def tumbler(paper: int) -> Picture:
    """A glass: the paper behind it a little darker, dark at its outline, with one highlight."""
    outline = np.zeros((480, 480), np.uint8)
    cv2.fillPoly(outline, [np.array([[155, 90], [325, 90], [305, 400], [175, 400]])], 255)
    share = cv2.GaussianBlur(outline, (0, 0), 1) / 255
    inside = ndimage.distance_transform_edt(outline > 127)
    page = np.full((480, 480), paper / 255)
    y, x = np.mgrid[:480, :480]
    glass = page * (1 - 0.65 * (0.08 + 0.65 * np.exp(-inside / 5)))
    glass += 0.5 * np.exp(-((x - 200) ** 2) / 65 - (y - 210) ** 2 / 5500)
    grey = page * (1 - share) + glass.clip(0, 1) * share + np.random.default_rng(0).normal(0, 0.004, page.shape)
    return np.repeat((grey.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def test_by_alpha_is_the_share_that_is_half_transparent() -> None:
    assert by_alpha(disc(130)) == pytest.approx(0.64, abs=0.03)
    assert by_alpha(disc(130, 40)) == pytest.approx(0.16, abs=0.03)
    assert by_alpha(disc(255)) == by_alpha(np.zeros((64, 64, 4), np.uint8)) == 0


def test_a_soft_edge_is_no_glass() -> None:
    soft = disc(255)
    soft[..., 3] = cv2.GaussianBlur(soft[..., 3], (0, 0), 0.8)
    assert by_alpha(soft) == 0


def test_by_page_is_the_share_that_has_the_pages_colour() -> None:
    photo = np.full((400, 400, 3), 220, np.uint8)
    photo[100:300, 100:300] = (40, 80, 160)
    photo[104:296, 104:296] = 214
    mask = np.zeros((400, 400), bool)
    mask[100:300, 100:300] = True
    assert by_page(photo, mask) > 0.95
    assert by_page(photo, ~mask & False) == 0
    noise = np.random.default_rng(0).integers(0, 255, photo.shape, np.uint8)
    assert by_page(np.where(mask[..., None], photo, noise), mask) == 0  # no plain page
    assert by_page(np.where(photo == 214, photo, 220).astype(np.uint8), mask) == 0  # no rim: white on white
    part = photo.copy()
    part[104:296, 104:146] = (40, 80, 160)
    assert by_page(part, mask) == pytest.approx(0.78, abs=0.03)
    part[104:296, 104:296] = (200, 30, 30)
    assert by_page(part, mask) == 0  # a frame round something red


def test_a_half_transparent_cutout_is_flagged(models: SegmentationModels) -> None:
    assert checked(as_png(disc(130)), models)["flags"] == TRANSPARENT
    assert checked(as_png(disc(255)), models)["flags"] == ""


@pytest.mark.parametrize("paper", [244, 206, 150])
def test_a_photo_of_a_glass_is_flagged(paper: int, models: SegmentationModels) -> None:
    assert TRANSPARENT in str(checked(as_png(tumbler(paper)), models)["flags"]).split("; ")


def test_an_off_white_cushion_on_white_is_not(models: SegmentationModels) -> None:
    photo = np.full((480, 480, 3), 255, np.uint8)
    y, x = np.mgrid[-1:1:480j, -1:1:480j]
    height = np.sqrt(np.clip(1 - (np.abs(x / 0.6) ** 4 + np.abs(y / 0.55) ** 4), 0, None))
    cushion = 205 + 40 * height
    photo[height > 0] = cushion[height > 0].astype(np.uint8)[:, None]
    assert TRANSPARENT not in str(checked(as_png(photo), models)["flags"])


@pytest.mark.parametrize("photo", ["blue-trainer.jpg", "kite-mug.png", "striped-lamp.png"])
def test_no_product_of_the_demo_is(photo: str, models: SegmentationModels) -> None:
    check = checked((ROOT / "data/01_raw" / photo).read_bytes(), models)
    assert check["flags"] == "" and float(str(check["see_through"])) < 0.05
