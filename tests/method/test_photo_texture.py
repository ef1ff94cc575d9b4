"""The photo on the surface: where it is seen, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.texture import bake, draw
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.photo_texture import with_photos
from mpod_pipeline.rendering.cameras import Cameras
from tests.geometry.shapes import ball

ELEVATION = 10.0
CAMERA = Cameras.at(0.0, ELEVATION)
GREY = 0.5


def grey(points: Tensor) -> Tensor:
    return torch.full((len(points), 3), GREY)


def chequered(mesh: Mesh, size: int = 256) -> NDArray[np.uint8]:
    """A cutout of the mesh under squares of 8 pixels, red right of the middle and blue left of it, on black ones."""
    alpha = draw(bake(mesh, grey, 64), CAMERA, size)[1][0].numpy()
    row, column = np.mgrid[:size, :size]
    squares = (row // 8 + column // 8) % 2 == 0
    rgb = np.zeros((size, size, 3))
    rgb[..., 0] = squares & (column >= size // 2)
    rgb[..., 2] = squares & (column < size // 2)
    return np.dstack([rgb * 255, alpha * 255]).round().astype(np.uint8)


def test_from_its_own_view_the_photo_is_seen_as_it_is() -> None:
    mesh = ball(0.6, 24)
    cutout = chequered(mesh)
    made = bake(mesh, with_photos(grey, mesh, Cutouts.of(cutout, ELEVATION)), 1024)
    picture = draw(made, CAMERA, 256)[0][0].numpy()
    middle = slice(96, 160)
    error = (picture - cutout[..., :3] / 255)[middle, middle]
    # Squares of 8 pixels: resampling softens their borders, which are a quarter of all pixels.
    assert np.abs(error).mean() < 0.06
    assert np.sqrt((error**2).mean()) < 0.16


LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def printed(letter: str) -> np.ndarray:
    """A letter as a label of 28 pixels' height has it: [28, 24] in [0, 1], dark on light."""
    picture = Image.new("L", (24, 28), 230)
    ImageDraw.Draw(picture).text((12, 14), letter, 30, ImageFont.load_default(26), anchor="mm")
    return np.asarray(picture) / 255


@pytest.mark.parametrize("word", ["MUG42", "Q8B0O", "WEST7"])
def test_a_printed_label_can_be_read(word: str) -> None:
    """Each letter of the model's front looks more like itself than like any other, at the pixels that the photo has."""
    mesh = ball(0.6, 24)
    size = 512
    cutout = np.zeros((size, size, 4), np.uint8)
    cutout[..., 3] = (draw(bake(mesh, grey, 64), CAMERA, size)[1][0].numpy() * 255).round()
    cutout[..., :3] = 230
    label = np.concatenate([printed(letter) for letter in word], axis=1)
    top, left = (size - label.shape[0]) // 2, (size - label.shape[1]) // 2
    place = np.s_[top : top + label.shape[0], left : left + label.shape[1]]
    cutout[place][..., :3] = (label * 255).round()[..., None]
    made = bake(mesh, with_photos(grey, mesh, Cutouts.of(cutout, ELEVATION)), 1024)
    seen = draw(made, CAMERA, size)[0][0].numpy().mean(axis=2)[place]
    for number, letter in enumerate(word):
        one = seen[:, number * 24 : (number + 1) * 24]
        likeness = {other: np.corrcoef(one.ravel(), printed(other).ravel())[0, 1] for other in LETTERS}
        assert max(likeness, key=lambda other: likeness[other]) == letter and likeness[letter] > 0.9


def test_what_the_photo_does_not_show_keeps_its_colours() -> None:
    mesh = ball(0.6, 24)
    made = bake(mesh, with_photos(grey, mesh, Cutouts.of(chequered(mesh), ELEVATION)), 512)
    picture, opacity, _ = draw(made, Cameras.at(180.0, -10.0), 96)
    assert (picture[opacity > 0.99] - GREY).abs().max() < 0.01


def test_what_stands_behind_is_not_painted() -> None:
    """Two balls in a row: the rear one faces the camera too, but the photo shows the front one."""
    front, rear = ball(0.35, 20), ball(0.3, 20)
    aside = torch.tensor([0.5, 0.0, 0.09])  # towards the camera, which stands 10 degrees above
    mesh = Mesh(
        torch.cat([front.vertices + aside, rear.vertices - aside]),
        torch.cat([front.faces, rear.faces + len(front.vertices)]),
    )
    colour = with_photos(grey, mesh, Cutouts.of(chequered(mesh), ELEVATION))
    towards = CAMERA.basis[0][0] / CAMERA.distance
    hidden = rear.vertices[rear.vertices @ towards > 0.15] - aside
    shown = front.vertices[front.vertices @ towards > 0.3] + aside
    assert (colour(hidden) - GREY).abs().max() < 1e-6
    assert ((colour(shown) - GREY).abs().amax(dim=1) > 0.3).all()
