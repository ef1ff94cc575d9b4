"""The CPU's rasteriser: a z-buffer in Numba, in bands of rows over all cores.

A pixel's barycentrics ``b`` come from its face in homogeneous image coordinates ``v = (x d, y d, d)`` (NDC
x, y and depth d), where the surface point that the pixel (x, y) sees is ``t (x, y, 1) = sum_i b_i v_i``:
perspective-correct. Moving the vertices by ``dv`` moves that point by ``D = sum_j b_j dv_j`` and changes
``b = t V^-1 (x, y, 1)`` by ``db = b (n . D) - V^-1 D`` with ``n = 1^T V^-1``. So one vector per pixel,
``G = (g . b) n - V^-T g`` for a gradient g by b, gives all three vertices theirs: ``b_j G``.
"""

# Numba infers the types of its kernels.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.raster import Raster
from mpod_pipeline.rendering.rasterize.silhouettes import (
    COVERED,
    PIXEL,
    backward_blend,
    blend,
    find_silhouettes,
)
from mpod_pipeline.rendering.rasterize.zbuffer import barycentrics, fill_zbuffer


@njit(nogil=True, cache=True)
def _rasterize_one(points, faces, height, width):
    face_index = np.full((height, width), -1, np.int32)
    depth = np.zeros((height, width), np.float32)
    fill_zbuffer(points, faces, 0, height, face_index, depth)
    barycentric = np.zeros((height, width, 3), np.float32)
    for row in range(height):
        y = 1.0 - (row + 0.5) * 2.0 / height
        for column in range(width):
            f = face_index[row, column]
            if f >= 0:
                x = (column + 0.5) * 2.0 / width - 1.0
                ba, bb, bc, d = barycentrics(points, faces[f, 0], faces[f, 1], faces[f, 2], x, y)
                barycentric[row, column, 0] = ba
                barycentric[row, column, 1] = bb
                barycentric[row, column, 2] = bc
                depth[row, column] = d
    return face_index, barycentric, depth


def rasterize_numpy(
    points: NDArray[np.float32], faces: NDArray[np.integer], height: int, width: int
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """One picture of a projected mesh, without gradients: one thread, no GIL, for threads and processes.

    points: [V, 3] NDC x, NDC y, depth, as ``Cameras.project`` gives them. faces: [F, 3].
    Returns the face [H, W] int32 (-1 outside), perspective-correct barycentrics [H, W, 3] and depth [H, W]
    (both 0 outside) at the pixel centres. Faces with a vertex nearer than 0.01 are dropped.
    """
    points = np.ascontiguousarray(points, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    face_index, barycentric, depth = _rasterize_one(points, faces, height, width)
    return face_index, barycentric, depth


@njit(parallel=True, nogil=True, cache=True)
def _forward(points, faces, attributes, height, width, bands):
    """points [B, V, 3], attributes [V, C] -> pictures [B, H, W, C]; face, depth, hard opacity [B, H, W]."""
    views, channels = points.shape[0], attributes.shape[1]
    face_index = np.empty((views, height, width), np.int32)
    depth = np.empty((views, height, width), np.float32)
    opacity = np.empty((views, height, width), np.float32)
    pictures = np.empty((views, height, width, channels), np.float32)
    for task in prange(views * bands):
        view, band = task // bands, task % bands
        top, bottom = band * height // bands, (band + 1) * height // bands
        face_index[view, top:bottom] = -1
        depth[view, top:bottom] = 0.0
        fill_zbuffer(points[view], faces, top, bottom, face_index[view], depth[view])
        for row in range(top, bottom):
            y = 1.0 - (row + 0.5) * 2.0 / height
            for column in range(width):
                f = face_index[view, row, column]
                opacity[view, row, column] = 1.0 if f >= 0 else 0.0
                if f < 0:
                    for k in range(channels):
                        pictures[view, row, column, k] = 0.0
                    continue
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                x = (column + 0.5) * 2.0 / width - 1.0
                ba, bb, bc, d = barycentrics(points[view], a, b, c, x, y)
                depth[view, row, column] = d
                for k in range(channels):
                    pictures[view, row, column, k] = (
                        ba * attributes[a, k] + bb * attributes[b, k] + bc * attributes[c, k]
                    )
    return pictures, face_index, depth, opacity


@njit(nogil=True, cache=True)
def _backward_pixel(points, face, x, y, attributes, grad_picture, grad_homogeneous, grad_attributes):
    """Add one pixel's gradient to its vertices: grad_homogeneous [V, 3] (by v), grad_attributes [V, C]."""
    a, b, c = face[0], face[1], face[2]
    ba, bb, bc, _ = barycentrics(points, a, b, c, x, y)
    ga, gb, gc = 0.0, 0.0, 0.0
    for k in range(len(grad_picture)):
        g = grad_picture[k]
        if g != 0.0:
            ga += g * attributes[a, k]
            gb += g * attributes[b, k]
            gc += g * attributes[c, k]
            grad_attributes[a, k] += g * ba
            grad_attributes[b, k] += g * bb
            grad_attributes[c, k] += g * bc
    da, db, dc = np.float64(points[a, 2]), np.float64(points[b, 2]), np.float64(points[c, 2])
    ax, ay, bx, by = points[a, 0] * da, points[a, 1] * da, points[b, 0] * db, points[b, 1] * db
    cx, cy = points[c, 0] * dc, points[c, 1] * dc
    # cofactors: the rows of V^-1 are these over the determinant
    nax, nay, naz = by * dc - db * cy, db * cx - bx * dc, bx * cy - by * cx
    nbx, nby, nbz = cy * da - dc * ay, dc * ax - cx * da, cx * ay - cy * ax
    ncx, ncy, ncz = ay * db - da * by, da * bx - ax * db, ax * by - ay * bx
    determinant = ax * nax + ay * nay + da * naz
    if determinant == 0.0:
        return
    mean = ga * ba + gb * bb + gc * bc
    wa, wb, wc = (mean - ga) / determinant, (mean - gb) / determinant, (mean - gc) / determinant
    gx = wa * nax + wb * nbx + wc * ncx
    gy = wa * nay + wb * nby + wc * ncy
    gz = wa * naz + wb * nbz + wc * ncz
    grad_homogeneous[a, 0] += ba * gx
    grad_homogeneous[a, 1] += ba * gy
    grad_homogeneous[a, 2] += ba * gz
    grad_homogeneous[b, 0] += bb * gx
    grad_homogeneous[b, 1] += bb * gy
    grad_homogeneous[b, 2] += bb * gz
    grad_homogeneous[c, 0] += bc * gx
    grad_homogeneous[c, 1] += bc * gy
    grad_homogeneous[c, 2] += bc * gz


@njit(parallel=True, nogil=True, cache=True)
def _backward_pictures(points, faces, attributes, face_index, integers, grad_pictures, bands):
    """grad_pictures [B, H, W, C] -> gradients by NDC points [B, V, 3] and by attributes [V, C]."""
    views, height, width = face_index.shape
    count, channels = attributes.shape
    grad_homogeneous = np.zeros((views * bands, count, 3), np.float32)
    grad_attributes = np.zeros((views * bands, count, channels), np.float32)
    for task in prange(views * bands):
        view, band = task // bands, task % bands
        for row in range(band * height // bands, (band + 1) * height // bands):
            y = 1.0 - (row + 0.5) * 2.0 / height
            for column in range(width):
                f = face_index[view, row, column]
                if f >= 0:
                    x = (column + 0.5) * 2.0 / width - 1.0
                    _backward_pixel(
                        points[view],
                        faces[f],
                        x,
                        y,
                        attributes,
                        grad_pictures[view, row, column],
                        grad_homogeneous[task],
                        grad_attributes[task],
                    )
    for k in range(len(integers)):  # soft pixels outside show their covered neighbour's surface
        pixel, covered = integers[k, PIXEL], integers[k, COVERED]
        if pixel < 0 or covered < 0:
            continue
        view, row, column = covered // (height * width), covered // width % height, covered % width
        _backward_pixel(
            points[view],
            faces[face_index[view, row, column]],
            (column + 0.5) * 2.0 / width - 1.0,
            1.0 - (row + 0.5) * 2.0 / height,
            attributes,
            grad_pictures[view, pixel // width % height, pixel % width],
            grad_homogeneous[view * bands],
            grad_attributes[view * bands],
        )
    grad_points = np.empty((views, count, 3), np.float32)
    for view in prange(views):
        for v in range(count):
            gx, gy, gd = 0.0, 0.0, 0.0
            for band in range(bands):
                gx += grad_homogeneous[view * bands + band, v, 0]
                gy += grad_homogeneous[view * bands + band, v, 1]
                gd += grad_homogeneous[view * bands + band, v, 2]
            x, y, d = points[view, v, 0], points[view, v, 1], points[view, v, 2]
            grad_points[view, v, 0] = gx * d
            grad_points[view, v, 1] = gy * d
            grad_points[view, v, 2] = gx * x + gy * y + gd
    return grad_points, grad_attributes.sum(0)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, points: Tensor, attributes: Tensor, faces: Tensor, resolution: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        arrays = points.numpy(), faces.to(torch.int32).contiguous().numpy(), attributes.contiguous().numpy()
        # twice as many bands as cores even out the load of busy and empty ones
        bands = max(1, -(-2 * numba.get_num_threads() // len(points)))
        pictures, face_index, depth, opacity = _forward(*arrays, resolution, resolution, bands)
        integers, floats = find_silhouettes(arrays[0], arrays[1], face_index, bands)
        blend(integers, floats, opacity.reshape(-1), pictures.reshape(-1, pictures.shape[-1]))
        ctx.kept = (*arrays, face_index, integers, floats, bands)
        index = torch.from_numpy(face_index).long()
        outputs = torch.from_numpy(pictures), torch.from_numpy(opacity), index, torch.from_numpy(depth)
        ctx.mark_non_differentiable(outputs[2], outputs[3])
        return outputs

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad_pictures: Tensor, grad_opacity: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        points, faces, attributes, face_index, integers, floats, bands = ctx.kept
        grad_points, grad_attributes = _backward_pictures(
            points, faces, attributes, face_index, integers, grad_pictures.contiguous().numpy(), bands
        )
        _, height, width = face_index.shape
        opacity = grad_opacity.contiguous().numpy().reshape(-1)
        backward_blend(points, integers, floats, height, width, opacity, grad_points)
        return torch.from_numpy(grad_points), torch.from_numpy(grad_attributes), None, None


def rasterize(
    vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int
) -> Raster:
    """See ``mpod_pipeline.rendering.rasterize.rasterize``."""
    points = cameras.project(vertices.float()).contiguous()
    return Raster(*_Rasterize.apply(points, attributes.float(), faces, resolution))
