"""The CPU's rasteriser: a z-buffer in Numba, in bands of rows on all cores.

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

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.bands import Band, bands, for_each
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
    set_up_planes(points, faces, planes)
    face_index = np.full((height, width), -1, np.int64)
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
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """One picture of a projected mesh, without gradients: one thread, no GIL, for threads and processes.

    points: [V, 3] NDC x, NDC y, depth, as ``Cameras.project`` gives them. faces: [F, 3].
    Returns the face [H, W] int64 (-1 outside), perspective-correct barycentrics [H, W, 3] and depth [H, W]
    (both 0 outside) at the pixel centres. Faces with a vertex nearer than 0.01 are dropped.
    """
    points = np.ascontiguousarray(points, np.float32)
    faces = np.ascontiguousarray(faces, np.int32)
    face_index, barycentric, depth = _rasterize_one(points, faces, height, width)
    return face_index, barycentric, depth


@njit(nogil=True, cache=True)
def _interpolate(faces, planes, attributes, face_index, top, bottom, depth, opacity, pictures):
    """Write depth, hard opacity and pictures of the covered pixels of rows [top, bottom).

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
            if f < 0:
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
            opacity[row, column] = 1.0
            depth[row, column] = d
            for k in range(channels):
                pictures[row, column, k] = (lines[k, 0] * x + lines[k, 1]) * d


def _allocate(views: int, size: int, channels: int, face_count: int) -> list[NDArray]:
    """Pictures, opacity, depth, face index and planes as parts of one block.

    The system gives large blocks huge pages; of small ones every 4 KB cost a page fault, a third of the
    forward's time.
    """
    pixels = views * size * size
    shapes: list[tuple[tuple[int, ...], type]] = [
        ((views, face_count, 3, 3), np.float64),
        ((views, size, size), np.int64),
        ((views, size, size, channels), np.float32),
        ((views, size, size), np.float32),
        ((views, size, size), np.float32),
    ]
    block = np.empty(views * face_count * 72 + pixels * (8 + 4 * channels + 4 + 4), np.uint8)
    parts: list[NDArray] = []
    start = 0
    for shape, dtype in shapes:
        end = start + int(np.prod(shape)) * np.dtype(dtype).itemsize
        parts.append(block[start:end].view(dtype).reshape(shape))
        start = end
    return parts


@njit(nogil=True, cache=True)
def _fill_band(points, faces, attributes, planes, face_index, pictures, opacity, depth, top, bottom):
    """Rows [top, bottom) of one view, from its points [V, 3] and planes."""
    face_index[top:bottom] = -1
    depth[top:bottom] = 0.0
    opacity[top:bottom] = 0.0
    pictures[top:bottom] = 0.0
    fill_zbuffer(points, faces, planes, top, bottom, face_index, depth)
    _interpolate(faces, planes, attributes, face_index, top, bottom, depth, opacity, pictures)


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


@njit(nogil=True, cache=True)
def _backward_band(
    faces, planes, attributes, face_index, pictures, grad_pictures, integers, start, top, bottom
):
    """Gradients by homogeneous vertices [V, 3] and attributes [V, C] of one view's rows [top, bottom).

    start: the number of the view's first pixel, as the records count them.
    """
    height, width = face_index.shape
    count, channels = attributes.shape
    sums = np.zeros((len(faces), 3, 1 + channels))
    for row in range(top, bottom):
        y = 1.0 - (row + 0.5) * 2.0 / height
        for column in range(width):
            f = face_index[row, column]
            if f >= 0:
                x = (column + 0.5) * 2.0 / width - 1.0
                _collect(sums[f], planes[f], x, y, pictures[row, column], grad_pictures[row, column])
    for k in range(len(integers)):  # soft pixels outside show their covered neighbour's surface
        pixel, covered = integers[k, PIXEL] - start, integers[k, COVERED] - start
        if integers[k, PIXEL] < 0 or covered < top * width or covered >= bottom * width:
            continue
        f = face_index[covered // width, covered % width]
        x = (covered % width + 0.5) * 2.0 / width - 1.0
        y = 1.0 - (covered // width + 0.5) * 2.0 / height
        row, column = pixel // width, pixel % width
        _collect(sums[f], planes[f], x, y, pictures[row, column], grad_pictures[row, column])
    grad_homogeneous = np.zeros((count, 3))
    grad_attributes = np.zeros((count, channels))
    _distribute(faces, planes, attributes, sums, grad_homogeneous, grad_attributes)
    return grad_homogeneous, grad_attributes


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, points: Tensor, attributes: Tensor, faces: Tensor, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        views, channels = len(points), attributes.shape[1]
        at, corners, values = points.numpy(), faces.to(torch.int32).contiguous().numpy(), attributes.numpy()
        planes, face_index, pictures, opacity, depth = _allocate(views, size, channels, len(corners))
        tasks = bands(views, size)

        def set_up(band: Band) -> None:
            set_up_planes(at[band.view], corners, planes[band.view])

        def fill(band: Band) -> None:
            v, top, bottom = band
            outputs = face_index[v], pictures[v], opacity[v], depth[v]
            _fill_band(at[v], corners, values, planes[v], *outputs, top, bottom)

        def outline(band: Band) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            v, top, bottom = band
            integers, floats = find_silhouettes(at[v], corners, face_index[v], v, top, bottom)
            return integers, floats

        for_each(set_up, [band for band in tasks if band.top == 0])
        for_each(fill, tasks)
        found = for_each(outline, tasks)
        integers, floats = (np.concatenate(records) for records in zip(*found, strict=True))
        blend(integers, floats, opacity.reshape(-1), pictures.reshape(-1, channels))
        shown, soft = torch.from_numpy(pictures), torch.from_numpy(opacity)
        index, distance = torch.from_numpy(face_index), torch.from_numpy(depth)
        ctx.save_for_backward(points, attributes, shown)
        ctx.kept = corners, planes, face_index, integers, floats
        ctx.mark_non_differentiable(index, distance)
        return shown, soft, index, distance

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad_pictures: Tensor, grad_opacity: Tensor, *_: Tensor
    ) -> tuple[Tensor, Tensor, None, None]:
        points, values, pictures = (tensor.numpy() for tensor in ctx.saved_tensors)
        corners, planes, face_index, integers, floats = ctx.kept
        gradient = grad_pictures.contiguous().numpy()
        views, size, _ = face_index.shape
        tasks = bands(views, size)

        def collect(band: Band) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            v, top, bottom = band
            pictured = face_index[v], pictures[v], gradient[v], integers, v * size * size
            by_vertices, by_attributes = _backward_band(corners, planes[v], values, *pictured, top, bottom)
            return by_vertices, by_attributes

        by_vertices, by_attributes = (
            np.stack(parts) for parts in zip(*for_each(collect, tasks), strict=True)
        )
        homogeneous = by_vertices.reshape(views, len(tasks) // views, -1, 3).sum(axis=1)
        x, y, d = np.moveaxis(points, -1, 0)
        gx, gy, gd = np.moveaxis(homogeneous, -1, 0)
        grad_points = np.stack([gx * d, gy * d, gx * x + gy * y + gd], axis=-1)  # v = (x d, y d, d)
        opacity = grad_opacity.contiguous().numpy().reshape(-1)
        backward_blend(points, integers, floats, size, size, opacity, grad_points)
        by_attributes = by_attributes.sum(axis=0)
        return torch.from_numpy(grad_points).float(), torch.from_numpy(by_attributes).float(), None, None


def rasterize(
    vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int
) -> Raster:
    """See ``mpod_pipeline.rendering.rasterize.rasterize``."""
    points = cameras.project(vertices.float()).contiguous()
    return Raster(*_Rasterize.apply(points, attributes.float().contiguous(), faces, resolution))
