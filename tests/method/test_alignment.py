"""Further photos: silhouettes in another frame are found again, and each photo is held to its own side."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mpod_pipeline.cutout.matting import moved
from mpod_pipeline.method.alignment import Placement, align, fit_in_frame, placed, soft_overlap
from mpod_pipeline.method.cutouts import Cutout, Cutouts, extent, reference_view
from mpod_pipeline.method.evaluation import draw_field
from mpod_pipeline.method.further_photos import FurtherPhotos, nearest_photo
from mpod_pipeline.method.outline import optimize_outline
from mpod_pipeline.priors import NovelViewPrior
from mpod_pipeline.priors.sds import SdsParameters
from mpod_pipeline.rendering.cameras import Cameras
from tests.method.quick import QUICK_OUTLINE

R = 48


def block(cameras: Cameras) -> Tensor:
    """The silhouettes [B, R, R] of a block of 0.5 x 1.0 x 0.7 with a smaller one on a corner, by rays."""
    origin, direction = cameras.rays(R, R)
    steps = torch.linspace(1.4, 3.6, 200)
    points = origin[..., None, :] + steps[:, None] * direction[..., None, :]
    body = (points.abs() < torch.tensor([0.25, 0.5, 0.35])).all(dim=-1)
    knob = ((points - torch.tensor([0.1, 0.35, 0.45])).abs() < torch.tensor([0.1, 0.1, 0.15])).all(dim=-1)
    return (body | knob).any(dim=-1).float()


def test_another_scale_and_shift_are_found_to_a_pixel() -> None:
    silhouette = block(Cameras.at(90.0, 10.0))[0]
    photo = placed(silhouette, [Placement(90.0, 10.0, 0.93, 0.06, -0.04)])[0]
    found, overlap = fit_in_frame(photo, silhouette, Placement(90.0, 10.0), 1.0)
    assert overlap > 0.95
    half = R / 2
    assert found.scale == pytest.approx(1 / 0.93, rel=0.03)
    assert abs(found.x + 0.06 / 0.93) * half < 1 and abs(found.y - 0.04 / 0.93) * half < 1


def test_a_camera_is_found_near_where_it_is_said_to_be() -> None:
    photo = block(Cameras.at(84.0, 19.0))[0]
    start = Placement(90.0, 10.0)
    found, overlap = align(photo, block, start, start)
    assert overlap > 0.95
    assert abs(found.azimuth_deg - 84.0) <= 4 and abs(found.elevation_deg - 19.0) <= 4


def test_no_camera_goes_further_than_its_bounds() -> None:
    photo = block(Cameras.at(40.0, 60.0))[0]
    start = Placement(90.0, 10.0)
    found, _ = align(photo, block, start, start)
    assert abs(found.azimuth_deg - 90) <= 15 and abs(found.elevation_deg - 10) <= 15


def picture(height: int, width: int, size: int = 128) -> np.ndarray:
    """A red rectangle in the middle."""
    made = np.zeros((size, size, 4), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    made[top : top + height, left : left + width] = (200, 30, 30, 255)
    return made


def test_the_nearest_photo_is_told_round_the_circle() -> None:
    photos = Cutouts(tuple(Cutout(picture(8, 8), 0.0, azimuth, str(azimuth)) for azimuth in (0.0, 90.0, 180.0)))
    assert [nearest_photo(photos, azimuth) for azimuth in (350.0, 50.0, 100.0, 200.0, 275.0)] == [0, 1, 1, 2, 0]


def test_moved_goes_to_the_right_and_down() -> None:
    made = moved(picture(40, 20), 0.5, right=10, down=-20)
    rows, columns = np.nonzero(made[..., 3] > 128)
    assert (rows.mean(), columns.mean()) == pytest.approx((63.5 - 20, 63.5 + 10), abs=0.6)
    assert extent(made) == pytest.approx((20, 10), abs=1)


@pytest.fixture(scope="module")
def four_sides(cutout: np.ndarray) -> Cutouts:
    """A ball that is red in front, green on its right, blue behind and yellow on its left."""
    colours = {"front": (200, 30, 30), "right": (30, 160, 30), "back": (30, 30, 200), "left": (220, 210, 30)}
    photos = []
    for i, (name, colour) in enumerate(colours.items()):
        painted = cutout.copy()
        painted[..., :3] = colour
        photos.append(Cutout(painted, 0.0, 90.0 * i, name))
    return Cutouts(tuple(photos))


def test_every_side_looks_like_its_own_photo(four_sides: Cutouts, novel_view: NovelViewPrior) -> None:
    """Left and right too: who stands in front sees the green on the right. A field that mirrored them would fail."""
    p = QUICK_OUTLINE.model_copy(update={"steps": 120, "sds": SdsParameters(guidance_scale=1.0, weight=0.0)})
    made = optimize_outline(four_sides, novel_view, p, 0, lambda *_: None)
    pictures, _ = draw_field(made.field, Cameras.at([0.0, 90.0, 180.0, 270.0], 0.0), 24)
    wanted = torch.stack([torch.from_numpy(photo.picture[32, 32, :3] / 255).float() for photo in four_sides.photos])
    seen = pictures[:, 10:14, 10:14].mean(dim=(1, 2))
    assert torch.cdist(seen, wanted).argmin(dim=1).tolist() == [0, 1, 2, 3]
    assert torch.cdist(seen, wanted).diagonal().max() < 0.4
    # azimuth 90 is where +y is seen: the right of who looks along -x
    assert made.field.colour(torch.tensor([[0.0, 0.36, 0.0]]))[0].argmax() == 1
    assert [photo.name for photo in made.photos.photos] == ["front", "right", "back", "left"]


def test_a_photo_in_another_light_is_brought_into_the_fronts(four_sides: Cutouts, novel_view: NovelViewPrior) -> None:
    """A grey ball, whose back was photographed at half the brightness: where the photos meet, that is seen."""
    grey = [replace(photo, picture=_painted(photo.picture, 160)) for photo in four_sides.photos]
    grey[2] = replace(grey[2], picture=_painted(grey[2].picture, 110))
    p = QUICK_OUTLINE.model_copy(update={"steps": 160, "sds": SdsParameters(guidance_scale=1.0, weight=0.0)})
    made = optimize_outline(Cutouts(tuple(grey)), novel_view, p, 0, lambda *_: None)
    back = made.photos.photos[2].picture[32, 32, :3].astype(float)
    assert (back > 113).all()


def _painted(cutout: np.ndarray, level: int) -> np.ndarray:
    painted = cutout.copy()
    painted[..., :3] = level
    return painted


def test_one_photo_has_no_further_ones(cutouts: Cutouts) -> None:
    further = FurtherPhotos(cutouts)
    assert len(further) == 0 and not further.due(5, 20)
    assert further.aligned(cutouts.front) == cutouts


def test_cameras_survive_a_kill(four_sides: Cutouts) -> None:
    """What was found is in the state that a checkpoint keeps, and the photos are framed by it again."""
    further, resumed = FurtherPhotos(four_sides), FurtherPhotos(four_sides)
    further.placement[0] = torch.tensor([95.0, 4.0, 1.1, 0.05, 0.0])
    resumed.load_state_dict(further.state_dict())
    assert resumed.placement_of(0) == further.placement_of(0)
    assert np.array_equal(resumed.photo(0).picture, further.photo(0).picture)
    assert torch.equal(resumed.reference(0, 24).mask, reference_view(further.photo(0).picture, 24).mask)
    assert float(soft_overlap(resumed.reference(0, 24).mask[None], further.reference(0, 24).mask)) > 0.999


def test_a_photo_of_something_else_is_left_out_where_that_is_asked(
    four_sides: Cutouts, novel_view: NovelViewPrior
) -> None:
    """Its silhouette is a bar, as high as the ball."""
    picture = np.zeros_like(four_sides.front.picture)
    picture[four_sides.front.picture[..., 3].any(axis=1), 28:32] = 255
    bar = replace(four_sides.photos[2], picture=picture)
    photos = Cutouts((*four_sides.photos[:2], bar))
    p = QUICK_OUTLINE.model_copy(update={"sds": SdsParameters(guidance_scale=1.0, weight=0.0)})
    kept = optimize_outline(photos, novel_view, p, 0, lambda *_: None).photos
    assert [photo.name for photo in kept.photos] == ["front", "right", "back"]
    asked = p.model_copy(update={"leave_out_below": 0.6})
    kept = optimize_outline(photos, novel_view, asked, 0, lambda *_: None).photos
    assert [photo.name for photo in kept.photos] == ["front", "right"]
