"""The photo on the surface: where it is seen, and nowhere else."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
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
