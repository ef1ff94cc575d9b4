"""The hash encoding on a CPU: Numba kernels over memory shared with torch."""

# mypy: allow-untyped-defs, allow-incomplete-defs
# Numba infers the kernels' types.

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpod_pipeline.base.compiled import njit
from mpod_pipeline.base.threads import share_out
from mpod_pipeline.fields.hash_encoding.interface import HASH_PRIMES, HashGridLayout, TableEncoding

# No "nnan" and "ninf": a NaN among the points must come out as a NaN, not as anything.
_JIT: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}

# Points that go through all levels together: their features (96 bytes a point by default) stay in the cache
# while a level's part of the table, at most half a megabyte by default, is read at random.
_POINTS_AT_ONCE = 2048

_PRIME_Y, _PRIME_Z = np.uint64(HASH_PRIMES[1]), np.uint64(HASH_PRIMES[2])
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


@njit(inline="always", **_JIT)
def _level(level, offset, resolution):
    """First and last entry of a level, whether it is dense, and what y and z count in its index."""
    size, edge = offset[level + 1] - offset[level], resolution[level]
    dense = edge * edge * edge <= size
    factor_y = np.uint64(edge) if dense else _PRIME_Y
    factor_z = np.uint64(edge * edge) if dense else _PRIME_Z
    return np.uint64(size), np.int32(edge), dense, factor_y, factor_z


@njit(inline="always", **_JIT)
def _axis(coordinate, scale, edge):
    """The lower vertex of a coordinate's cell, and how far in the cell it lies."""
    position = min(max(coordinate, _ZERO), _ONE) * scale + _HALF
    # Only a NaN is changed by these limits: it may become any integer, which must not be read as an address.
    vertex = min(max(np.int32(position), np.int32(0)), edge)
    return np.uint64(vertex), position - np.float32(vertex)


@njit(inline="always", **_JIT)
def _cell(points, i, scale, edge, factor_y, factor_z):
    """A point's cell: its lower corner's terms of the index, and the three fractions."""
    x, u = _axis(points[i, 0], scale, edge)
    y, v = _axis(points[i, 1], scale, edge)
    z, w = _axis(points[i, 2], scale, edge)
    return x, y * factor_y, z * factor_z, u, v, w


@njit(inline="always", **_JIT)
def _entry(corner, x, y, z, factor_y, factor_z, dense, size):
    """Entry of a cell's corner, whose three bits say on which axes it is the upper one."""
    x = x + np.uint64(corner & 1)
    y = y + factor_y if corner & 2 else y
    z = z + factor_z if corner & 4 else z
    if dense:
        index = x + y + z
        return index - size if index >= size else index
    return (x ^ y ^ z) & (size - np.uint64(1))


@njit(inline="always", **_JIT)
def _weight(corner, u, v, w):
    """Weights of a cell's corner along the three axes."""
    return u if corner & 1 else _ONE - u, v if corner & 2 else _ONE - v, w if corner & 4 else _ONE - w


class _Kernels(NamedTuple):
    encode: Callable[..., None]
    table_gradient: Callable[..., None]
    point_gradient: Callable[..., None]


@lru_cache
def _kernels(n_features: int) -> _Kernels:
    """Kernels with the number of features (even) known to the compiler.

    They take features by twos, which it then keeps in registers over the eight corners.
    """

    @njit(**_JIT)
    def encode(points, table, offset, resolution, scale, encoded, first, end):
        for level in range(len(scale)):
            size, edge, dense, factor_y, factor_z = _level(level, offset, resolution)
            entries = table[offset[level] : offset[level + 1]]
            column = level * n_features
            for i in range(first, end):
                x, y, z, u, v, w = _cell(points, i, scale[level], edge, factor_y, factor_z)
                for f in range(0, n_features, 2):
                    even, odd = _ZERO, _ZERO
                    for corner in range(8):
                        entry = _entry(corner, x, y, z, factor_y, factor_z, dense, size)
                        weight_x, weight_y, weight_z = _weight(corner, u, v, w)
                        weight = weight_x * weight_y * weight_z
                        even += weight * entries[entry, f]
                        odd += weight * entries[entry, f + 1]
                    encoded[i, column + f] = even
                    encoded[i, column + f + 1] = odd

    @njit(**_JIT)
    def table_gradient(points, gradient, offset, resolution, scale, table_grad, first_level, end_level):
        for level in range(first_level, end_level):
            size, edge, dense, factor_y, factor_z = _level(level, offset, resolution)
            entries = table_grad[offset[level] : offset[level + 1]]
            column = level * n_features
            for i in range(len(points)):
                x, y, z, u, v, w = _cell(points, i, scale[level], edge, factor_y, factor_z)
                for f in range(0, n_features, 2):
                    even, odd = gradient[i, column + f], gradient[i, column + f + 1]
                    for corner in range(8):
                        entry = _entry(corner, x, y, z, factor_y, factor_z, dense, size)
                        weight_x, weight_y, weight_z = _weight(corner, u, v, w)
                        weight = weight_x * weight_y * weight_z
                        entries[entry, f] += weight * even
                        entries[entry, f + 1] += weight * odd

    @njit(**_JIT)
    def point_gradient(points, table, gradient, offset, resolution, scale, point_grad, first, end):
        for level in range(len(scale)):
            size, edge, dense, factor_y, factor_z = _level(level, offset, resolution)
            entries = table[offset[level] : offset[level + 1]]
            column = level * n_features
            for i in range(first, end):
                x, y, z, u, v, w = _cell(points, i, scale[level], edge, factor_y, factor_z)
                grad_x, grad_y, grad_z = _ZERO, _ZERO, _ZERO
                for f in range(0, n_features, 2):
                    even, odd = gradient[i, column + f], gradient[i, column + f + 1]
                    for corner in range(8):
                        entry = _entry(corner, x, y, z, factor_y, factor_z, dense, size)
                        weight_x, weight_y, weight_z = _weight(corner, u, v, w)
                        value = entries[entry, f] * even + entries[entry, f + 1] * odd
                        grad_x += value * weight_y * weight_z * (_ONE if corner & 1 else -_ONE)
                        grad_y += value * weight_x * weight_z * (_ONE if corner & 2 else -_ONE)
                        grad_z += value * weight_x * weight_y * (_ONE if corner & 4 else -_ONE)
                # A coordinate outside the cube was moved onto its surface, whatever its value.
                point_grad[i, 0] += scale[level] * grad_x if _ZERO <= points[i, 0] <= _ONE else _ZERO
                point_grad[i, 1] += scale[level] * grad_y if _ZERO <= points[i, 1] <= _ONE else _ZERO
                point_grad[i, 2] += scale[level] * grad_z if _ZERO <= points[i, 2] <= _ONE else _ZERO

    return _Kernels(encode, table_gradient, point_gradient)


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
        points = points.contiguous()
        ctx.save_for_backward(points, table)
        ctx.layout = layout
        n_features = table.shape[1]
        encoded = torch.empty(len(points), len(layout.scale) * n_features)
        grid = (layout.offset, layout.resolution, layout.scale)
        work = partial(_kernels(n_features).encode, points.numpy(), table.numpy(), *grid, encoded.numpy())
        share_out(work, len(points), _POINTS_AT_ONCE)
        return encoded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table = ctx.saved_tensors
        grid = (ctx.layout.offset, ctx.layout.resolution, ctx.layout.scale)
        kernels = _kernels(table.shape[1])
        gradient = gradient.contiguous()
        point_grad = table_grad = None
        # Zeros of numpy's: PyTorch's own threads, once awake, would hinder the kernels'.
        if ctx.needs_input_grad[0]:
            point_grad = torch.from_numpy(np.zeros(points.shape, np.float32))
            work = partial(
                kernels.point_gradient, points.numpy(), table.numpy(), gradient.numpy(), *grid, point_grad.numpy()
            )
            share_out(work, len(points), _POINTS_AT_ONCE)
        if ctx.needs_input_grad[1]:
            table_grad = torch.from_numpy(np.zeros(table.shape, np.float32))
            # A thread has a whole level, so no two of them ever write the same entry, and the order of
            # additions, hence the result, is always the same.
            work = partial(kernels.table_gradient, points.numpy(), gradient.numpy(), *grid, table_grad.numpy())
            share_out(work, len(ctx.layout.scale), largest=1)
        return point_grad, table_grad, None


class NumbaHashEncoding(TableEncoding):
    """The CPU's kernels: float32, deterministic whatever the number of threads."""

    def forward(self, points: Tensor) -> Tensor:  # [N, 3] -> [N, output_dim]
        return _HashEncode.apply(points, self.table, self.layout)
