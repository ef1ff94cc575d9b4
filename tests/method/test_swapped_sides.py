"""Photos of left and right with each other's names are told by the product's edges, which neighbours share."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mpod_pipeline.cutout.photo_file import FRONT, SIDES, PhotoFile
from mpod_pipeline.method.cutouts import Cutout, Cutouts
from mpod_pipeline.method.segmentation import SegmentationModels, SegmentationParameters, load_segmentation_models
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.steps.segment import make
from mpod_pipeline.method.swapped_sides import SWAPPED, look_swapped

#: The colours of a box's four upright edges, by where they are, seen from the front.
CORNERS = {
    ("front", "left"): (200, 40, 40),
    ("front", "right"): (40, 160, 40),
    ("back", "right"): (40, 40, 200),
    ("back", "left"): (210, 190, 60),
}
#: The edges at the left and at the right of each photo.
SEEN = {
    "front": (("front", "left"), ("front", "right")),
    "right": (("front", "right"), ("back", "right")),
    "back": (("back", "right"), ("back", "left")),
    "left": (("back", "left"), ("front", "left")),
}
WIDTH = {"front": 90, "back": 90, "left": 60, "right": 60}


def picture_of(side: str, light: float = 1.0, one_colour: bool = False) -> NDArray[np.uint8]:
    """The box from a side, [128, 128, 4]: from the colour of its left edge to that of its right one."""
    left, right = ((120, 120, 120) if one_colour else CORNERS[edge] for edge in SEEN[side])
    share = np.linspace(0, 1, WIDTH[side])[:, None]
    row = (np.array(left) * (1 - share) + np.array(right) * share) * light
    picture = np.zeros((128, 128, 4), np.uint8)
    start = 64 - WIDTH[side] // 2
    picture[20:108, start : start + WIDTH[side], :3] = row.clip(0, 255)
    picture[20:108, start : start + WIDTH[side], 3] = 255
    return picture


def box(names: dict[str, str], **how: bool) -> Cutouts:
    """The box's photos: by name, the side that they show."""
    azimuths = {FRONT: 0.0, **SIDES}
    return Cutouts(tuple(Cutout(picture_of(side, **how), 10.0, azimuths[name], name) for name, side in names.items()))


AS_SAID = {side: side for side in (FRONT, *SIDES)}
OTHERWISE = {name: SWAPPED.get(name, name) for name in AS_SAID}


def test_only_swapped_sides_look_swapped() -> None:
    assert not look_swapped(box(AS_SAID))
    assert look_swapped(box(OTHERWISE))


def test_a_box_of_one_colour_tells_nothing() -> None:
    assert not look_swapped(box(OTHERWISE, one_colour=True))


@pytest.mark.parametrize("missing", ["back", "left", "right"])
def test_all_four_photos_are_needed(missing: str) -> None:
    assert not look_swapped(box({name: side for name, side in OTHERWISE.items() if name != missing}))


def test_another_light_in_each_photo_does_not_hide_it() -> None:
    lights = {"front": 1.0, "back": 0.85, "left": 1.1, "right": 0.9}
    photos = box(OTHERWISE).photos
    lit = [Cutout(picture_of(OTHERWISE[p.name], lights[p.name]), 10.0, p.azimuth_deg, p.name) for p in photos]
    assert look_swapped(Cutouts(tuple(lit)))


@pytest.fixture(scope="module")
def models() -> SegmentationModels:
    return load_segmentation_models(SegmentationParameters())


@pytest.mark.parametrize(("names", "flagged"), [(AS_SAID, False), (OTHERWISE, True)])
def test_the_product_is_flagged(names: dict[str, str], flagged: bool, models: SegmentationModels) -> None:
    def as_png(side: str) -> bytes:
        return cv2.imencode(".png", cv2.cvtColor(picture_of(side), cv2.COLOR_RGBA2BGRA))[1].tobytes()

    further = [PhotoFile(as_png(names[name]), None, name, azimuth) for name, azimuth in SIDES.items()]
    inputs = {"photo": as_png("front"), "mask": None, "further_photos": further}
    check = make(models, Given("box", inputs, SegmentationParameters(photo_elevation_deg=10.0)))["cutout_checks"]
    assert ("left and right look swapped" in check["flags"]) is flagged
