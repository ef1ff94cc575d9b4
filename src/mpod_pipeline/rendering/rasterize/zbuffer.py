"""Which face a pixel sees, and where in it: the kernels of one view.

``points`` [V, 3] are NDC x, NDC y, depth. With ``v = (x d, y d, d)`` of a face's three vertices as the
columns of V, the point that the pixel (x, y) sees is ``t (x, y, 1) = V b``: barycentrics b over depth t are
``V^-1 (x, y, 1)``, linear on screen. So the rows of ``V^-1`` are all that a face's pixels need: they are 0
at its edges, positive inside, and sum to 1 / t. ``planes`` [F, 3, 3] holds them, in float64.
"""

# Numba infers the types of its kernels.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from math import ceil, floor
from typing import Any

import numpy as np

from mpod_pipeline.base.compiled import njit

#: Faces with a vertex nearer than this are dropped: they may reach behind the camera.
NEAR = 0.01
#: Barycentrics this far below 0 still count as inside, so that rounding opens no crack between neighbours.
INSIDE = -1e-9
#: Side of the squares of pixels that share a farthest depth.
TILE = 8
#: Divisions by zero are ours to avoid; Python's check at each costs a branch.
JIT: dict[str, Any] = {"nogil": True, "cache": True, "error_model": "numpy"}


@njit(**JIT)
def set_up_planes(points, faces, planes, order):
    """Invert V for all faces; planes of dropped and of edge-on faces are 0.

    Fills ``order`` [F] with the numbers of those that turn counter-clockwise to the camera, then of those that
    turn clockwise. Returns how many there are of the first, and of both.
    """
    towards, away = 0, len(faces)
    for f in range(len(faces)):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        da, db, dc = np.float64(points[a, 2]), np.float64(points[b, 2]), np.float64(points[c, 2])
        ax, ay = points[a, 0] * da, points[a, 1] * da
        bx, by = points[b, 0] * db, points[b, 1] * db
        cx, cy = points[c, 0] * dc, points[c, 1] * dc
        plane = planes[f]
        plane[0, 0], plane[0, 1], plane[0, 2] = by * dc - db * cy, db * cx - bx * dc, bx * cy - by * cx
        determinant = ax * plane[0, 0] + ay * plane[0, 1] + da * plane[0, 2]
        if determinant == 0.0 or min(da, db, dc) < NEAR:
            plane[:] = 0.0
            continue
        if determinant > 0.0:
            order[towards] = f
            towards += 1
        else:
            away -= 1
            order[away] = f
        scale = 1.0 / determinant
        plane[0, 0], plane[0, 1], plane[0, 2] = plane[0, 0] * scale, plane[0, 1] * scale, plane[0, 2] * scale
        plane[1, 0], plane[1, 1] = (cy * da - dc * ay) * scale, (dc * ax - cx * da) * scale
        plane[1, 2] = (cx * ay - cy * ax) * scale
        plane[2, 0], plane[2, 1] = (ay * db - da * by) * scale, (da * bx - ax * db) * scale
        plane[2, 2] = (ax * by - ay * bx) * scale
    drawn = towards + len(faces) - away
    order[towards:drawn] = order[away:].copy()
    return towards, drawn


@njit(inline="always", **JIT)
def _clip_span(first, last, value, step, per):
    """The columns of [first, last] where ``value + column * step`` is not negative."""
    if step > 0.0:
        return max(first, ceil((INSIDE - value) * per)), last
    if step < 0.0:
        return first, min(last, floor((INSIDE - value) * per))
    return first, last if value >= INSIDE else first - 1


@njit(**JIT)
def fill_zbuffer(points, faces, planes, order, towards, drawn, top, bottom, face_index, inverse_depth):
    """Nearest face at the pixel centres of rows [top, bottom). Buffers [H, W] come set to -1 and 0.

    Faces that turn counter-clockwise to the camera go first: of a closed mesh they hide all the others, which
    then fail at a look into the tiles' farthest depths. The order changes nothing else.
    """
    height, width = face_index.shape
    half_w, half_h = 0.5 * width, 0.5 * height
    tiles = np.zeros(((bottom - top + TILE - 1) // TILE, (width + TILE - 1) // TILE), np.float32)
    for i in range(drawn):
        if i == towards:
            _find_farthest(inverse_depth, top, bottom, tiles)
        f = order[i]
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        ya, yb, yc = points[a, 1], points[b, 1], points[c, 1]
        row_0 = max(top, ceil((1.0 - max(ya, yb, yc)) * half_h - 0.5))
        row_1 = min(bottom - 1, floor((1.0 - min(ya, yb, yc)) * half_h - 0.5))
        if row_0 > row_1:
            continue
        xa, xb, xc = points[a, 0], points[b, 0], points[c, 0]
        column_0 = max(0, ceil((1.0 + min(xa, xb, xc)) * half_w - 0.5))
        column_1 = min(width - 1, floor((1.0 + max(xa, xb, xc)) * half_w - 0.5))
        if column_0 > column_1:
            continue
        if i >= towards:
            nearness = 1.0 / min(points[a, 2], points[b, 2], points[c, 2])
            if _hidden(tiles, row_0 - top, row_1 - top, column_0, column_1, nearness):
                continue
        _draw(planes[f], f, row_0, row_1, column_0, column_1, face_index, inverse_depth)


@njit(**JIT)
def _find_farthest(inverse_depth, top, bottom, tiles):
    """The least nearness in every tile of rows [top, bottom)."""
    width = inverse_depth.shape[1]
    tiles[:] = np.inf
    for row in range(top, bottom):
        tile_row = tiles[(row - top) // TILE]
        for tile in range(len(tile_row)):
            least = tile_row[tile]
            for column in range(tile * TILE, min(width, tile * TILE + TILE)):
                least = min(least, inverse_depth[row, column])
            tile_row[tile] = least


@njit(inline="always", **JIT)
def _hidden(tiles, row_0, row_1, column_0, column_1, nearness):
    """Whether all is nearer, in the tiles of a box of pixels, than a face of this nearness at most."""
    for i in range(row_0 // TILE, row_1 // TILE + 1):
        for j in range(column_0 // TILE, column_1 // TILE + 1):
            if tiles[i, j] < nearness * 1.000001:  # float32's rounding
                return False
    return True


@njit(inline="always", **JIT)
def _draw(plane, f, row_0, row_1, column_0, column_1, face_index, inverse_depth):
    """Draw a face into a box of pixels, row by row between its edges."""
    height, width = face_index.shape
    half_w, half_h = 0.5 * width, 0.5 * height
    step_a, step_b, step_c = plane[0, 0] / half_w, plane[1, 0] / half_w, plane[2, 0] / half_w
    step = step_a + step_b + step_c
    per_a = 1.0 / step_a if step_a != 0.0 else 0.0
    per_b = 1.0 / step_b if step_b != 0.0 else 0.0
    per_c = 1.0 / step_c if step_c != 0.0 else 0.0
    x = (0.5 - half_w) / half_w  # of column 0
    for row in range(row_0, row_1 + 1):
        y = (half_h - row - 0.5) / half_h
        ea = plane[0, 0] * x + plane[0, 1] * y + plane[0, 2]
        eb = plane[1, 0] * x + plane[1, 1] * y + plane[1, 2]
        ec = plane[2, 0] * x + plane[2, 1] * y + plane[2, 2]
        first, last = _clip_span(column_0, column_1, ea, step_a, per_a)
        first, last = _clip_span(first, last, eb, step_b, per_b)
        first, last = _clip_span(first, last, ec, step_c, per_c)
        e = ea + eb + ec
        for column in range(first, last + 1):
            nearness = np.float32(e + column * step)
            if nearness > inverse_depth[row, column]:
                inverse_depth[row, column] = nearness
                face_index[row, column] = f


@njit(inline="always", **JIT)
def barycentrics(plane, x, y):
    """Perspective-correct barycentrics of the pixel at NDC (x, y) in a face, and its depth."""
    ea = plane[0, 0] * x + plane[0, 1] * y + plane[0, 2]
    eb = plane[1, 0] * x + plane[1, 1] * y + plane[1, 2]
    ec = plane[2, 0] * x + plane[2, 1] * y + plane[2, 2]
    depth = 1.0 / (ea + eb + ec)
    return ea * depth, eb * depth, ec * depth, depth
