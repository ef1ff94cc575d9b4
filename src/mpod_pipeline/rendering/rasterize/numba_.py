"""The CPU's rasteriser: a z-buffer in Numba, in bands of rows on all cores.

The gradient by vertices: moving them by ``dv`` (homogeneous, see zbuffer.py) moves the surface point in a
pixel by ``D = sum_j b_j dv_j`` and its barycentrics by ``db = b (n . D) - V^-1 D`` with ``n = 1^T V^-1``.
With a gradient g by b, vertex j therefore gets ``b_j sum_i (g . b - g_i) V^-1_i``. Over the pixels of a
face only ``sum b_j (g . b)`` and, per channel, ``sum b_j dL/dA`` are needed: the rest follows once per
face, as g_i is the channels' sum of attribute i times dL/dA, and g . b that of the picture times dL/dA. And
b over depth being ``V^-1 (x, y, 1)``, pixels need add no more than depth times (x, y, 1) times these.
"""

# Numba infers the types of its kernels.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.base.compiled import njit
from mpod_pipeline.base.threads import for_each, threads
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.raster import Raster
from mpod_pipeline.rendering.rasterize.silhouettes import COVERED, PIXEL, backward_blend, blend, find_silhouettes
from mpod_pipeline.rendering.rasterize.zbuffer import JIT, barycentrics, fill_zbuffer, set_up_planes

#: A band of fewer pixels is not worth a thread.
PIXELS_PER_BAND = 1 << 14


@njit(**JIT)
def _rasterize_one(points, faces, height, width):
    planes = np.empty((len(faces), 3, 3))
    order = np.empty(len(faces), np.int32)
    towards, drawn = set_up_planes(points, faces, planes, order)
    face_index = np.full((height, width), -1, np.int32)
    depth = np.zeros((height, width), np.float32)
    fill_zbuffer(points, faces, planes, order, towards, drawn, 0, height, face_index, depth)
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


@njit(**JIT)
def _interpolate(faces, planes, attributes, face_index, top, bottom, depth, opacity, pictures):
    """Write depth, hard opacity and pictures of the covered pixels of rows [top, bottom)."""
    height, width = face_index.shape
    step = 2.0 / width
    for row in range(top, bottom):
        y = 1.0 - (row + 0.5) * 2.0 / height
        for column in range(width):
            f = face_index[row, column]
            if f < 0:
                continue
            ba, bb, bc, d = barycentrics(planes[f], (column + 0.5) * step - 1.0, y)
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            opacity[row, column] = 1.0
            depth[row, column] = d
            for k in range(attributes.shape[1]):
                value = ba * attributes[a, k] + bb * attributes[b, k] + bc * attributes[c, k]
                pictures[row, column, k] = value


def _allocate(views: int, size: int, channels: int, face_count: int) -> list[NDArray]:
    """Pictures, opacity, depth, face index and planes as parts of one block.

    The system gives large blocks huge pages; of small ones every 4 KB cost a page fault, a third of the forward's time.
    """
    pixels = views * size * size
    shapes: list[tuple[tuple[int, ...], type]] = [
        ((views, face_count, 3, 3), np.float64),
        ((views, size, size), np.int32),
        ((views, size, size, channels), np.float32),
        ((views, size, size), np.float32),
        ((views, size, size), np.float32),
    ]
    block = np.empty(views * face_count * 72 + pixels * 4 * (channels + 3), np.uint8)
    parts: list[NDArray] = []
    start = 0
    for shape, dtype in shapes:
        end = start + int(np.prod(shape)) * np.dtype(dtype).itemsize
        parts.append(block[start:end].view(dtype).reshape(shape))
        start = end
    return parts


@njit(**JIT)
def _fill_band(
    points, faces, attributes, planes, order, towards, drawn, face_index, pictures, opacity, depth, top, bottom
):
    """Rows [top, bottom) of one view, from its points [V, 3], planes and order."""
    face_index[top:bottom] = -1
    depth[top:bottom] = 0.0
    opacity[top:bottom] = 0.0
    pictures[top:bottom] = 0.0
    fill_zbuffer(points, faces, planes, order, towards, drawn, top, bottom, face_index, depth)
    _interpolate(faces, planes, attributes, face_index, top, bottom, depth, opacity, pictures)


@njit(inline="always", **JIT)
def _collect(sums, depth, x, y, pictures, gradients, row, column):
    """Add a pixel to its face's sums [1 + C, 3]: of depth times (x, y, 1) times (g . b, dL/dA per channel)."""
    mean = 0.0
    for k in range(gradients.shape[2]):
        g = gradients[row, column, k] * depth
        mean += g * pictures[row, column, k]
        sums[k + 1, 0] += g * x
        sums[k + 1, 1] += g * y
        sums[k + 1, 2] += g
    sums[0, 0] += mean * x
    sums[0, 1] += mean * y
    sums[0, 2] += mean


@njit(inline="always", **JIT)
def _distribute(face, plane, attributes, sums, grad_homogeneous, grad_attributes):
    """Give a face's sums to its vertices' gradients, [V, 3] (by v) and [V, C].

    Row j of a plane times the sums' (x, y, 1) makes them sums of b_j times (g . b, dL/dA per channel).
    """
    for j in range(3):
        vertex = face[j]
        weights = plane[j]
        common = weights[0] * sums[0, 0] + weights[1] * sums[0, 1] + weights[2] * sums[0, 2]
        weight_a, weight_b, weight_c = common, common, common
        for k in range(attributes.shape[1]):
            g = weights[0] * sums[k + 1, 0] + weights[1] * sums[k + 1, 1] + weights[2] * sums[k + 1, 2]
            grad_attributes[vertex, k] += g
            weight_a -= attributes[face[0], k] * g
            weight_b -= attributes[face[1], k] * g
            weight_c -= attributes[face[2], k] * g
        for i in range(3):
            grad_homogeneous[vertex, i] += weight_a * plane[0, i] + weight_b * plane[1, i] + weight_c * plane[2, i]


@njit(**JIT)
def _backward_band(faces, planes, attributes, face_index, depth, pictures, grad_pictures, integers, start, top, bottom):
    """Gradients by homogeneous vertices [V, 3] and attributes [V, C] of one view's rows [top, bottom).

    start: the number of the view's first pixel, as the records count them.
    """
    height, width = face_index.shape
    count, channels = attributes.shape
    # Few faces are seen in a band: their sums side by side stay in the cache.
    slots = np.full(len(faces), -1, np.int32)
    seen = np.empty(min(len(faces), (bottom - top) * width), np.int32)
    sums = np.empty((len(seen), 1 + channels, 3))
    seen_count = 0
    step = 2.0 / width
    for row in range(top, bottom):
        y = 1.0 - (row + 0.5) * 2.0 / height
        for column in range(width):
            f = face_index[row, column]
            if f >= 0:
                if slots[f] < 0:
                    slots[f], seen[seen_count], sums[seen_count] = seen_count, f, 0.0
                    seen_count += 1
                x = (column + 0.5) * step - 1.0
                d = np.float64(depth[row, column])
                _collect(sums[slots[f]], d, x, y, pictures, grad_pictures, row, column)
    for k in range(len(integers)):  # soft pixels outside show their covered neighbour's surface
        pixel, covered = integers[k, PIXEL] - start, integers[k, COVERED] - start
        if integers[k, PIXEL] < 0 or covered < top * width or covered >= bottom * width:
            continue
        row, column = covered // width, covered % width
        f = face_index[row, column]
        x, y = (column + 0.5) * step - 1.0, 1.0 - (row + 0.5) * 2.0 / height
        d = np.float64(depth[row, column])
        _collect(sums[slots[f]], d, x, y, pictures, grad_pictures, pixel // width, pixel % width)
    grad_homogeneous = np.zeros((count, 3))
    grad_attributes = np.zeros((count, channels))
    for slot in range(seen_count):
        f = seen[slot]
        _distribute(faces[f], planes[f], attributes, sums[slot], grad_homogeneous, grad_attributes)
    return grad_homogeneous, grad_attributes


def _numpy(gradient: Tensor | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """A gradient as an array; zeros for that of an output which nobody used."""
    if gradient is None:
        return np.zeros(shape, np.float32)
    return gradient.contiguous().numpy()


class Band(NamedTuple):
    """Rows [top, bottom) of a view."""

    view: int
    top: int
    bottom: int


def bands(views: int, size: int) -> list[Band]:
    """All rows of all views, in as many bands as keep PyTorch's number of threads busy, view by view."""
    wanted = -(-threads() // views)
    count = max(1, min(wanted, size * size // PIXELS_PER_BAND))
    edges = [size * i // count for i in range(count + 1)]
    return [Band(view, edges[i], edges[i + 1]) for view in range(views) for i in range(count)]


class _Rasterize(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, vertices: Tensor, attributes: Tensor, faces: Tensor, cameras: Cameras, size: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        views, channels = len(cameras), attributes.shape[1]
        points = cameras.project(vertices)
        at, corners, values = points.numpy(), faces.numpy().astype(np.int32), attributes.numpy()
        planes, face_index, pictures, opacity, depth = _allocate(views, size, channels, len(corners))
        order = np.empty((views, len(corners)), np.int32)
        tasks = bands(views, size)

        def set_up(band: Band) -> tuple[int, int]:
            towards, drawn = set_up_planes(at[band.view], corners, planes[band.view], order[band.view])
            return towards, drawn

        def fill(band: Band) -> None:
            v, top, bottom = band
            outputs = face_index[v], pictures[v], opacity[v], depth[v]
            _fill_band(at[v], corners, values, planes[v], order[v], *counts[v], *outputs, top, bottom)

        def outline(band: Band) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            v, top, bottom = band
            integers, floats = find_silhouettes(at[v], corners, face_index[v], v, top, bottom)
            return integers, floats

        counts = for_each(set_up, [band for band in tasks if band.top == 0])
        for_each(fill, tasks)
        found = for_each(outline, tasks)
        integers, floats = (np.concatenate(records) for records in zip(*found, strict=True))
        blend(integers, floats, opacity.reshape(-1), pictures.reshape(-1, channels))
        shown, soft = torch.from_numpy(pictures), torch.from_numpy(opacity)
        index, distance = torch.from_numpy(face_index), torch.from_numpy(depth)
        ctx.save_for_backward(attributes, shown)
        ctx.kept = at, cameras, corners, planes, face_index, depth, integers, floats
        ctx.mark_non_differentiable(index, distance)
        ctx.set_materialize_grads(False)
        return shown, soft, index, distance

    @staticmethod
    def backward(  # type: ignore[override]
        ctx: Any, grad_pictures: Tensor | None, grad_opacity: Tensor | None, *_: None
    ) -> tuple[Tensor, Tensor, None, None, None]:
        values, pictures = (tensor.numpy() for tensor in ctx.saved_tensors)
        points, cameras, corners, planes, face_index, depth, integers, floats = ctx.kept
        views, size, _ = face_index.shape
        gradient = _numpy(grad_pictures, pictures.shape)
        tasks = bands(views, size)

        def collect(band: Band) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            v, top, bottom = band
            pictured = face_index[v], depth[v], pictures[v], gradient[v], integers, v * size * size
            by_vertices, by_attributes = _backward_band(corners, planes[v], values, *pictured, top, bottom)
            return by_vertices, by_attributes

        by_vertices, by_attributes = (np.stack(parts) for parts in zip(*for_each(collect, tasks), strict=True))
        homogeneous = by_vertices.reshape(views, len(tasks) // views, -1, 3).sum(axis=1)
        opacity = _numpy(grad_opacity, face_index.shape).reshape(-1)
        backward_blend(points, integers, floats, size, size, opacity, homogeneous)
        by_world = (homogeneous @ cameras.image_axes.double().numpy()).sum(axis=0)
        by_attributes = by_attributes.sum(axis=0)
        return torch.from_numpy(by_world).float(), torch.from_numpy(by_attributes).float(), None, None, None


def rasterize(vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int) -> Raster:
    """See ``mpod_pipeline.rendering.rasterize.rasterize``."""
    return Raster(
        *_Rasterize.apply(vertices.float().contiguous(), attributes.float().contiguous(), faces, cameras, resolution)
    )
