"""The CPU's rasteriser: a z-buffer in Numba, in bands of rows over all cores.

The gradient by vertices: moving them by ``dv`` (homogeneous, see zbuffer.py) moves the surface point in a
pixel by ``D = sum_j b_j dv_j`` and its barycentrics by ``db = b (n . D) - V^-1 D`` with ``n = 1^T V^-1``.
With a gradient g by b, vertex j therefore gets ``b_j sum_i (g . b - g_i) V^-1_i``. Over the pixels of a
face only ``sum b_j (g . b)`` and, per channel, ``sum b_j dL/dA`` need be kept: the rest follows once per
face, as g_i is the channels' sum of attribute i times dL/dA, and g . b that of the picture times dL/dA.
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
from mpod_pipeline.rendering.rasterize.zbuffer import barycentrics, fill_zbuffer, set_up_planes


@njit(nogil=True, cache=True)
def _rasterize_one(points, faces, height, width):
    planes = np.empty((len(faces), 3, 3))
    set_up_planes(points, faces, 0, len(faces), planes)
    face_index = np.full((height, width), -1, np.int32)
    depth = np.zeros((height, width), np.float32)
    fill_zbuffer(points, faces, planes, 0, height, face_index, depth)
    barycentric = np.zeros((height, width, 3), np.float32)
    for row in range(height):
        y = 1.0 - (row + 0.5) * 2.0 / height
        for column in range(width):
            f = face_index[row, column]
            if f >= 0:
                x = (column + 0.5) * 2.0 / width - 1.0
                ba, bb, bc, d = barycentrics(planes[f], x, y)
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


@njit(nogil=True, cache=True)
def _interpolate(faces, planes, attributes, face_index, top, bottom, depth, opacity, pictures):
    """Fill depth, hard opacity and pictures of rows [top, bottom) from their faces.

    Attributes over depth are linear on screen too: one line per channel serves a run of pixels of one face.
    """
    height, width = face_index.shape
    channels = attributes.shape[1]
    lines = np.empty((channels, 2))
    for row in range(top, bottom):
        y = 1.0 - (row + 0.5) * 2.0 / height
        current, slope, start = -1, 0.0, 0.0
        for column in range(width):
            f = face_index[row, column]
            opacity[row, column] = 1.0 if f >= 0 else 0.0
            if f < 0:
                for k in range(channels):
                    pictures[row, column, k] = 0.0
                continue
            if f != current:
                current, plane = f, planes[f]
                a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
                ea, eb = plane[0, 1] * y + plane[0, 2], plane[1, 1] * y + plane[1, 2]
                ec = plane[2, 1] * y + plane[2, 2]
                slope, start = plane[0, 0] + plane[1, 0] + plane[2, 0], ea + eb + ec
                for k in range(channels):
                    at_a, at_b, at_c = attributes[a, k], attributes[b, k], attributes[c, k]
                    lines[k, 0] = plane[0, 0] * at_a + plane[1, 0] * at_b + plane[2, 0] * at_c
                    lines[k, 1] = ea * at_a + eb * at_b + ec * at_c
            x = (column + 0.5) * 2.0 / width - 1.0
            d = 1.0 / (slope * x + start)
            depth[row, column] = d
            for k in range(channels):
                pictures[row, column, k] = (lines[k, 0] * x + lines[k, 1]) * d


@njit(parallel=True, nogil=True, cache=True)
def _forward(points, faces, attributes, height, width, bands):
    """points [B, V, 3], attributes [V, C] -> pictures [B, H, W, C]; face, depth, hard opacity [B, H, W];
    planes.
    """
    views, count, channels = points.shape[0], len(faces), attributes.shape[1]
    planes = np.empty((views, count, 3, 3))
    for task in prange(views * bands):
        view, band = task // bands, task % bands
        set_up_planes(points[view], faces, band * count // bands, (band + 1) * count // bands, planes[view])
    face_index = np.empty((views, height, width), np.int32)
    depth = np.empty((views, height, width), np.float32)
    opacity = np.empty((views, height, width), np.float32)
    pictures = np.empty((views, height, width, channels), np.float32)
    for task in prange(views * bands):
        view, band = task // bands, task % bands
        top, bottom = band * height // bands, (band + 1) * height // bands
        face_index[view, top:bottom] = -1
        depth[view, top:bottom] = 0.0
        fill_zbuffer(points[view], faces, planes[view], top, bottom, face_index[view], depth[view])
        _interpolate(
            faces,
            planes[view],
            attributes,
            face_index[view],
            top,
            bottom,
            depth[view],
            opacity[view],
            pictures[view],
        )
    return pictures, face_index, depth, opacity, planes


@njit(nogil=True, cache=True, inline="always")
def _collect(sums, plane, x, y, picture, gradient):
    """Add a pixel's gradient to its face's sums [3, 1 + C]: of b_j (g . b), and of b_j dL/dA per channel."""
    ba, bb, bc, _ = barycentrics(plane, x, y)
    mean = 0.0
    for k in range(len(gradient)):
        g = gradient[k]
        mean += g * picture[k]
        sums[0, k + 1] += ba * g
        sums[1, k + 1] += bb * g
        sums[2, k + 1] += bc * g
    sums[0, 0] += ba * mean
    sums[1, 0] += bb * mean
    sums[2, 0] += bc * mean


@njit(nogil=True, cache=True)
def _distribute(faces, planes, attributes, sums, grad_homogeneous, grad_attributes):
    """Give the sums of all faces [F, 3, 1 + C] to their vertices: [V, 3] (by v) and [V, C]."""
    channels = attributes.shape[1]
    for f in range(len(faces)):
        for j in range(3):
            seen = sums[f, j, 0] != 0.0
            for k in range(channels):
                seen |= sums[f, j, k + 1] != 0.0
            if not seen:
                continue
            vertex = faces[f, j]
            for k in range(channels):
                grad_attributes[vertex, k] += sums[f, j, k + 1]
            for i in range(3):
                weight = sums[f, j, 0]
                for k in range(channels):
                    weight -= attributes[faces[f, i], k] * sums[f, j, k + 1]
                grad_homogeneous[vertex, 0] += weight * planes[f, i, 0]
                grad_homogeneous[vertex, 1] += weight * planes[f, i, 1]
                grad_homogeneous[vertex, 2] += weight * planes[f, i, 2]


@njit(parallel=True, nogil=True, cache=True)
def _backward_pictures(
    points, faces, planes, attributes, face_index, pictures, integers, grad_pictures, bands
):
    """grad_pictures [B, H, W, C] -> gradients by NDC points [B, V, 3] and by attributes [V, C]."""
    views, height, width = face_index.shape
    count, channels = attributes.shape
    grad_homogeneous = np.zeros((views * bands, count, 3))
    grad_attributes = np.zeros((views * bands, count, channels))
    for task in prange(views * bands):
        view, band = task // bands, task % bands
        top, bottom = band * height // bands, (band + 1) * height // bands
        sums = np.zeros((len(faces), 3, 1 + channels))
        for row in range(top, bottom):
            y = 1.0 - (row + 0.5) * 2.0 / height
            for column in range(width):
                f = face_index[view, row, column]
                if f >= 0:
                    x = (column + 0.5) * 2.0 / width - 1.0
                    picture, gradient = pictures[view, row, column], grad_pictures[view, row, column]
                    _collect(sums[f], planes[view, f], x, y, picture, gradient)
        start = view * height * width
        for k in range(len(integers)):  # soft pixels outside show their covered neighbour's surface
            pixel, covered = integers[k, PIXEL] - start, integers[k, COVERED] - start
            if integers[k, PIXEL] < 0 or covered < top * width or covered >= bottom * width:
                continue
            f = face_index[view, covered // width, covered % width]
            x = (covered % width + 0.5) * 2.0 / width - 1.0
            y = 1.0 - (covered // width + 0.5) * 2.0 / height
            picture = pictures[view, pixel // width, pixel % width]
            gradient = grad_pictures[view, pixel // width, pixel % width]
            _collect(sums[f], planes[view, f], x, y, picture, gradient)
        _distribute(faces, planes[view], attributes, sums, grad_homogeneous[task], grad_attributes[task])
    grad_points = np.empty((views, count, 3), np.float32)
    for view in range(views):
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
    return grad_points, grad_attributes.sum(0).astype(np.float32)


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, points: Tensor, attributes: Tensor, faces: Tensor, resolution: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        arrays = points.numpy(), faces.to(torch.int32).contiguous().numpy(), attributes.contiguous().numpy()
        bands = max(1, -(-numba.get_num_threads() // len(points)))
        pictures, face_index, depth, opacity, planes = _forward(*arrays, resolution, resolution, bands)
        integers, floats = find_silhouettes(arrays[0], arrays[1], face_index, bands)
        blend(integers, floats, opacity.reshape(-1), pictures.reshape(-1, pictures.shape[-1]))
        index = torch.from_numpy(face_index).long()
        outputs = torch.from_numpy(pictures), torch.from_numpy(opacity), index, torch.from_numpy(depth)
        ctx.save_for_backward(outputs[0])
        ctx.kept = (*arrays, planes, face_index, integers, floats, bands)
        ctx.mark_non_differentiable(outputs[2], outputs[3])
        return outputs

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad_pictures: Tensor, grad_opacity: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        points, faces, attributes, planes, face_index, integers, floats, bands = ctx.kept
        pictures, gradient = ctx.saved_tensors[0].numpy(), grad_pictures.contiguous().numpy()
        grad_points, grad_attributes = _backward_pictures(
            points, faces, planes, attributes, face_index, pictures, integers, gradient, bands
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
