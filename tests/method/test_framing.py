"""Photos that are each framed by themselves come into one frame, by their silhouettes alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mpod_pipeline.cutout.matting import frame
from mpod_pipeline.method.cutouts import Cutout, extent
from mpod_pipeline.method.framing import WIDEST, Coherence, framed_together, scale_beside_front
from mpod_pipeline.rendering.cameras import Cameras

SIZE = 128
SIDES = {"front": 0.0, "right": 90.0, "back": 180.0, "left": 270.0}


def rectangle(height: int, width: int, size: int = SIZE) -> NDArray[np.uint8]:
    """A red one in the middle."""
    made = np.zeros((size, size, 4), np.uint8)
    top, left = (size - height) // 2, (size - width) // 2
    made[top : top + height, left : left + width] = (200, 30, 30, 255)
    return made


BLOCK = 0.25, 0.55, 0.35


def photo_of_a_block(azimuth: float, elevation: float, half: tuple[float, float, float] = BLOCK) -> NDArray[np.uint8]:
    """A block with a smaller one on a corner, by rays; the photo [S, S, 4] is not framed. half: of its extents."""
    origin, direction = Cameras.at(azimuth, elevation).rays(SIZE, SIZE)
    points = origin[..., None, :] + torch.linspace(1.4, 3.6, 440)[:, None] * direction[..., None, :]
    body = (points.abs() < torch.tensor(half)).all(dim=-1)
    corner = torch.tensor([0.1, half[1] - 0.2, half[2] + 0.1])
    knob = ((points - corner).abs() < torch.tensor([0.1, 0.1, 0.15])).all(dim=-1)
    made = np.zeros((SIZE, SIZE, 4), np.uint8)
    made[(body | knob).any(dim=-1)[0].numpy()] = (200, 30, 30, 255)
    return made


@pytest.mark.parametrize("azimuth", [90.0, 180.0, 270.0])
@pytest.mark.parametrize("elevations", [(10.0, 10.0), (0.0, 25.0), (20.0, 5.0), (-30.0, -20.0)])
def test_the_size_in_a_side_view_follows_from_the_front(azimuth: float, elevations: tuple[float, float]) -> None:
    """Of a block seen from far away, where its silhouette has a closed form; pixels are rounded."""
    depth, width, height = 240, 480, 340
    front_elevation, elevation = np.radians(elevations)
    away, across = (depth, width) if azimuth == 180 else (width, depth)
    front = rectangle(round(height * np.cos(front_elevation) + depth * np.sin(abs(front_elevation))), width, 1600)
    high = height * np.cos(elevation) + away * np.sin(abs(elevation))
    side = rectangle(round(2.5 * high), round(2.5 * across), 1600)
    scale = scale_beside_front(Cutout(front, elevations[0]), Cutout(side, elevations[1], azimuth))
    assert scale == pytest.approx(1 / 2.5, rel=2e-3)


@pytest.mark.parametrize("share", [0.8, 1.0])
@pytest.mark.parametrize("half", [BLOCK, (0.75, 0.3, 0.25)])
def test_photos_with_frames_of_their_own_come_into_one_to_a_pixel_or_two(
    half: tuple[float, float, float], share: float
) -> None:
    """The true frame is that of the photos as they were taken, as large as the front's cutout, or less where another
    photo reaches further. Of the long block the front shows the near end, half as large again as the middle: its height
    alone misleads.
    """
    stand = [(azimuth, elevation) for azimuth, elevation in zip(SIDES.values(), (5.0, 15.0, 0.0, 10.0), strict=True)]
    taken = [photo_of_a_block(*place, half) for place in stand]
    framed = [frame(picture, size=SIZE, share=share) for picture in taken]
    photos = [Cutout(p, e, a, str(a)) for p, (a, e) in zip(framed, stand, strict=True)]
    made = framed_together(photos).photos
    zoom = extent(made[0].picture)[1] / extent(taken[0])[1]
    for photo, picture in zip(made[1:], taken[1:], strict=True):
        assert abs(extent(photo.picture)[1] - zoom * extent(picture)[1]) <= 2.5, photo.name
    largest = max(reach(photo.picture) for photo in made)
    as_the_front_was = extent(made[0].picture) == pytest.approx(extent(framed[0]), abs=1)
    assert largest == pytest.approx(WIDEST, abs=0.02) or (as_the_front_was and largest < WIDEST)
    nowhere = torch.zeros(4, 3)
    assert Coherence(made).misfit(nowhere, 0.0) < 0.1 * Coherence(photos).misfit(nowhere, 0.0)


def reach(picture: NDArray[np.uint8]) -> float:
    """How far from the middle a picture shows something, as a share of the frame's half."""
    rows, columns = np.nonzero(picture[..., 3] >= 128)
    return float(np.abs(np.stack([rows, columns]) + 0.5 - SIZE / 2).max() / (SIZE / 2))


def test_rays_through_edges_of_true_silhouettes_touch_what_all_others_see() -> None:
    """Photos in one frame have no misfit but what pixels cost; one that is a tenth too small has."""
    photos = [Cutout(photo_of_a_block(azimuth, 8.0), 8.0, azimuth, name) for name, azimuth in SIDES.items()]
    coherence = Coherence(photos)
    true = torch.zeros(4, 3)
    smaller = true.clone()
    smaller[1, 0] = np.log(0.9)
    assert coherence.misfit(true, 0.5) < 0.004
    assert coherence.misfit(smaller, 0.5) > 3 * coherence.misfit(true, 0.5)


def test_a_wide_side_makes_all_photos_smaller_until_it_fits() -> None:
    photos = [Cutout(rectangle(100, 40), 0.0), Cutout(rectangle(50, 100), 0.0, 90.0, "right")]
    front, side = framed_together(photos).photos
    assert extent(front.picture)[0] < 90
    assert extent(side.picture)[1] <= WIDEST * SIZE + 1


def test_one_photo_stays_to_the_bit() -> None:
    photo = Cutout(rectangle(100, 40), 0.0)
    assert framed_together([photo]).front is photo


def test_nothing_leaves_a_frame_where_a_photo_is_moved() -> None:
    photos = [Cutout(rectangle(60, 60), 0.0), Cutout(rectangle(30, 110), 25.0, 90.0, "right")]
    for photo in framed_together(photos).photos:
        solid = photo.picture[..., 3] >= 128
        assert not (solid[0].any() or solid[-1].any() or solid[:, 0].any() or solid[:, -1].any())


def test_a_product_as_thin_as_a_line_is_framed() -> None:
    photos = [Cutout(rectangle(800, 1, 1280), 0.0), Cutout(rectangle(700, 1, 1280), 0.0, 90.0, "right")]
    front, side = framed_together(photos).photos
    assert extent(front.picture)[0] == 800
    assert extent(side.picture)[0] == pytest.approx(800, rel=0.04)  # a pixel of the maps of distances has 13 of these
