"""Pictures of a model from all round: a sheet to look at, and a turn to post."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.shading import LIGHT_GREY, normal_picture

#: The sheet's cells per row; the first cell is the photo.
COLUMNS = 4
#: Views all round, the first of them the photo's own.
SIDES = 8
#: Then from above, in front and behind, and from below: azimuth and elevation, degrees.
ABOVE_AND_BELOW = ((0.0, 60.0), (180.0, 60.0), (0.0, -45.0))
#: Pictures of the turn; three quarters of a cell wide.
FRAMES = 24


@dataclass(frozen=True)
class Turntable:
    """sheet, normals: the photo and the model's views in cells of R pixels, row by row, [3 R, 4 R, 3]; in its own
    colours, with further rows for further photos, and in those of its normals. turn: the model turned once round,
    [N, R', R', 3] with R' = 3 R / 4.
    """

    sheet: NDArray[np.uint8]
    normals: NDArray[np.uint8]
    turn: NDArray[np.uint8]


def turntable(photos: Cutouts, mesh: TexturedMesh, resolution: int) -> Turntable:
    """All pictures of a model, on light grey; the further photos in rows of their own at the end. resolution: R, pixels
    of a cell's side.
    """
    photo, *further = (_bytes(photo_on_grey(each.picture, resolution)) for each in photos.photos)
    elevation = photos.front.elevation_deg
    sheet, normals = [photo], [photo]
    for camera in sheet_cameras(elevation):
        picture, opacity, normal = draw(mesh, camera, resolution, LIGHT_GREY)
        sheet.append(_bytes(picture[0]))
        normals.append(_bytes(normal_picture(normal, opacity, camera, LIGHT_GREY)[0]))
    sheet += further
    turn = Cameras.at([360.0 * i / FRAMES for i in range(FRAMES)], elevation)
    frames = [_bytes(draw(mesh, camera, resolution * 3 // 4, LIGHT_GREY)[0][0]) for camera in turn]
    return Turntable(grid(sheet), grid(normals), np.stack(frames))


def sheet_cameras(photo_elevation_deg: float) -> Cameras:
    """The cameras of a sheet's cells after the first, in their order."""
    sides = [(360.0 * i / SIDES, photo_elevation_deg) for i in range(SIDES)]
    azimuth, elevation = zip(*sides, *ABOVE_AND_BELOW, strict=True)
    return Cameras.at(list(azimuth), list(elevation))


def photo_on_grey(cutout: NDArray[np.uint8], resolution: int) -> Tensor:
    """A cutout [S, S, 4] as the model's views show their product: [R, R, 3] in [0, 1]."""
    view = reference_view(cutout, resolution)
    return (view.picture - (1 - LIGHT_GREY) * (1 - view.mask)).permute(1, 2, 0)


def grid(cells: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Cells [R, R, 3] row by row in one picture, which ends with empty ones."""
    empty = np.full_like(cells[0], round(255 * LIGHT_GREY))
    cells = cells + [empty] * (-len(cells) % COLUMNS)
    rows = [np.concatenate(cells[start : start + COLUMNS], axis=1) for start in range(0, len(cells), COLUMNS)]
    return np.concatenate(rows)


def _bytes(picture: Tensor) -> NDArray[np.uint8]:
    return (picture.clamp(0, 1) * 255).round().byte().numpy()
