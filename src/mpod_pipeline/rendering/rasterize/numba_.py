"""The CPU's rasteriser: a z-buffer in Numba, in bands of rows over all cores.

A pixel's barycentrics come from its face in homogeneous image coordinates ``v = (x d, y d, d)`` (NDC x, y, depth d),
where the surface point seen through a pixel is ``t (x, y, 1) = sum_i b_i v_i``. That makes both the interpolation and
its gradient perspective-correct.

Arithmetic is float64 within a pixel, float32 in memory.
"""

from __future__ import annotations

from math import ceil, floor

import numba
import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.raster import Raster

#: Faces with a vertex nearer than this are dropped: they may reach behind the camera.
NEAR = 0.01
#: Barycentrics this far below 0 still count as inside, so that rounding opens no crack between neighbours.
INSIDE = -1e-9

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


@njit(nogil=True, cache=True)
def _fill_zbuffer(points, faces, top, bottom, width, height, face_index, inverse_depth):  # type: ignore[no-untyped-def]
    """Nearest face at the pixel centres of rows [top, bottom): points [V, 3], buffers [H, W] set to -1 and 0."""
    half_w, half_h = 0.5 * width, 0.5 * height
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        da, db, dc = points[a, 2], points[b, 2], points[c, 2]
        if da < NEAR or db < NEAR or dc < NEAR:
            continue
        ay, by, cy = (1 - points[a, 1]) * half_h, (1 - points[b, 1]) * half_h, (1 - points[c, 1]) * half_h
        row_0 = max(top, ceil(min(ay, by, cy) - 0.5))
        row_1 = min(bottom - 1, floor(max(ay, by, cy) - 0.5))
        if row_0 > row_1:
            continue
        ax, bx, cx = (1 + points[a, 0]) * half_w, (1 + points[b, 0]) * half_w, (1 + points[c, 0]) * half_w
        column_0 = max(0, ceil(min(ax, bx, cx) - 0.5))
        column_1 = min(width - 1, floor(max(ax, bx, cx) - 0.5))
        if column_0 > column_1:
            continue
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if area == 0.0:
            continue
        inverse_area = 1.0 / area
        wa, wb, wc = 1.0 / da, 1.0 / db, 1.0 / dc
        step_a, step_b = (by - cy) * inverse_area, (cy - ay) * inverse_area
        step_c = -step_a - step_b
        step_w = wa * step_a + wb * step_b + wc * step_c
        x = column_0 + 0.5
        for row in range(row_0, row_1 + 1):
            y = row + 0.5
            la = ((bx - x) * (cy - y) - (by - y) * (cx - x)) * inverse_area
            lb = ((cx - x) * (ay - y) - (cy - y) * (ax - x)) * inverse_area
            lc = 1.0 - la - lb
            w = wa * la + wb * lb + wc * lc
            for column in range(column_0, column_1 + 1):
                if la >= INSIDE and lb >= INSIDE and lc >= INSIDE and w > inverse_depth[row, column]:
                    inverse_depth[row, column] = w
                    face_index[row, column] = f
                la += step_a
                lb += step_b
                lc += step_c
                w += step_w


@njit(nogil=True, cache=True, inline="always")
def _barycentrics(points, a, b, c, x, y):  # type: ignore[no-untyped-def]
    """Perspective-correct barycentrics of the pixel at NDC (x, y) in the face (a, b, c), and its depth."""
    ax, ay, bx, by = points[a, 0] - x, points[a, 1] - y, points[b, 0] - x, points[b, 1] - y
    cx, cy = points[c, 0] - x, points[c, 1] - y
    la = (bx * cy - by * cx) / points[a, 2]
    lb = (cx * ay - cy * ax) / points[b, 2]
    lc = (ax * by - ay * bx) / points[c, 2]
    scale = 1.0 / (la + lb + lc)
    la, lb, lc = la * scale, lb * scale, lc * scale
    return la, lb, lc, la * points[a, 2] + lb * points[b, 2] + lc * points[c, 2]


@njit(nogil=True, cache=True)
def _rasterize_one(points, faces, height, width):  # type: ignore[no-untyped-def]
    face_index = np.full((height, width), -1, np.int32)
    inverse_depth = np.zeros((height, width), np.float32)
    _fill_zbuffer(points, faces, 0, height, width, height, face_index, inverse_depth)
    barycentric = np.zeros((height, width, 3), np.float32)
    depth = np.zeros((height, width), np.float32)
    for row in range(height):
        y = 1.0 - (row + 0.5) * 2.0 / height
        for column in range(width):
            f = face_index[row, column]
            if f >= 0:
                x = (column + 0.5) * 2.0 / width - 1.0
                wa, wb, wc, d = _barycentrics(points, faces[f, 0], faces[f, 1], faces[f, 2], x, y)
                barycentric[row, column, 0] = wa
                barycentric[row, column, 1] = wb
                barycentric[row, column, 2] = wc
                depth[row, column] = d
    return face_index, barycentric, depth


def rasterize_numpy(points: Floats, faces: NDArray, height: int, width: int) -> tuple[Ints, Floats, Floats]:
    """One picture of a projected mesh, without gradients: one thread, no GIL, for threads and processes.

    points: [V, 3] NDC x, NDC y, depth, as ``Cameras.project`` gives them. faces: [F, 3].
    Returns the face [H, W] int32 (-1 outside), perspective-correct barycentrics [H, W, 3] and depth [H, W] (both 0
    outside) at the pixel centres. Faces with a vertex nearer than ``NEAR`` are dropped.
    """
    points = np.ascontiguousarray(points, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    return _rasterize_one(points, faces, height, width)


@njit(parallel=True, nogil=True, cache=True)
def _forward(points, faces, attributes, height, width, bands):  # type: ignore[no-untyped-def]
    """points [B, V, 3], attributes [V, C] -> pictures [B, H, W, C], face [B, H, W], depth [B, H, W]."""
    views, channels = points.shape[0], attributes.shape[1]
    face_index = np.empty((views, height, width), np.int32)
    depth = np.empty((views, height, width), np.float32)
    pictures = np.empty((views, height, width, channels), np.float32)
    for task in prange(views * bands):
        view, band = task // bands, task % bands
        top, bottom = band * height // bands, (band + 1) * height // bands
        face_index[view, top:bottom] = -1
        depth[view, top:bottom] = 0.0
        _fill_zbuffer(points[view], faces, top, bottom, width, height, face_index[view], depth[view])
        for row in range(top, bottom):
            y = 1.0 - (row + 0.5) * 2.0 / height
            for column in range(width):
                f = face_index[view, row, column]
                if f < 0:
                    pictures[view, row, column] = 0.0
                    continue
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                x = (column + 0.5) * 2.0 / width - 1.0
                wa, wb, wc, d = _barycentrics(points[view], a, b, c, x, y)
                depth[view, row, column] = d
                for k in range(channels):
                    pictures[view, row, column, k] = (
                        wa * attributes[a, k] + wb * attributes[b, k] + wc * attributes[c, k]
                    )
    return pictures, face_index, depth


def _band_count(views: int) -> int:
    """Bands of rows per view that keep all cores busy."""
    return max(1, -(-2 * numba.get_num_threads() // views))


def rasterize(
    vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int
) -> Raster:
    """See ``mpod_pipeline.rendering.rasterize.rasterize``."""
    points = cameras.project(vertices)
    pictures, face_index, depth = _forward(
        points.detach().numpy(),
        faces.to(torch.int32).numpy(),
        attributes.detach().contiguous().numpy(),
        resolution,
        resolution,
        _band_count(len(cameras)),
    )
    index = torch.from_numpy(face_index)
    return Raster(torch.from_numpy(pictures), (index >= 0).float(), index.long(), torch.from_numpy(depth))
