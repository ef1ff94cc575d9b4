"""The hash encoding on a CPU: Numba kernels over memory shared with torch."""

# mypy: allow-untyped-defs, allow-incomplete-defs
# Numba infers the kernels' types.

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from mpod_pipeline.fields.hash_encoding.interface import (
    HASH_PRIMES,
    HashEncoding,
    HashGridLayout,
    HashGridParameters,
    initial_table,
)

# No "nnan" and "ninf": a NaN among the points must come out as a NaN, not as anything.
_JIT: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}

# Points that one task takes through all levels: the features of a task (96 bytes a point by default) stay in
# the cache while a level's part of the table, at most half a megabyte, is read at random.
_POINTS_PER_TASK = 4096

_PRIME_Y = HASH_PRIMES[1]
_PRIME_Z = HASH_PRIMES[2]
_ZERO, _HALF, _ONE = np.float32(0), np.float32(0.5), np.float32(1)


@njit(inline="always", **_JIT)
def _cell(coordinate, scale, resolution):
    """The lower vertex of a coordinate's cell, and how far in the cell it lies."""
    position = min(max(coordinate, _ZERO), _ONE) * scale + _HALF
    vertex = np.int64(position)
    # Only a NaN changes here: it may become any integer, which must not be read as an address.
    vertex = min(max(vertex, np.int64(0)), resolution)
    return vertex, position - np.float32(vertex)


@njit(inline="always", **_JIT)
def _entry(x, y, z, dense, size):
    """Entry of a vertex whose coordinates carry their strides (dense) or primes (hashed) already."""
    if dense:
        index = x + y + z
        return index - size if index >= size else index
    return (x ^ y ^ z) & (size - 1)


class _Kernels(NamedTuple):
    encode: Callable[..., None]
    table_gradient: Callable[..., None]
    point_gradient: Callable[..., None]


@lru_cache
def _kernels(n_features: int) -> _Kernels:
    """Kernels with the number of features known to the compiler, which then unrolls the loops over them."""

    @njit(parallel=True, **_JIT)
    def encode(points, table, offset, resolution, scale, encoded):
        n_points, n_levels = points.shape[0], scale.shape[0]
        for task in prange((n_points + _POINTS_PER_TASK - 1) // _POINTS_PER_TASK):
            end = min(n_points, (task + 1) * _POINTS_PER_TASK)
            for level in range(n_levels):
                entries = table[offset[level] : offset[level + 1]]
                size, edge = entries.shape[0], resolution[level]
                dense = edge * edge * edge <= size
                factor_y = edge if dense else _PRIME_Y
                factor_z = edge * edge if dense else _PRIME_Z
                for i in range(task * _POINTS_PER_TASK, end):
                    x, u = _cell(points[i, 0], scale[level], edge)
                    y, v = _cell(points[i, 1], scale[level], edge)
                    z, w = _cell(points[i, 2], scale[level], edge)
                    y, z = y * factor_y, z * factor_z
                    for f in range(n_features):
                        encoded[i, level * n_features + f] = _ZERO
                    for corner in range(8):
                        weight = u if corner & 1 else _ONE - u
                        weight *= v if corner & 2 else _ONE - v
                        weight *= w if corner & 4 else _ONE - w
                        entry = _entry(
                            x + (corner & 1),
                            y + factor_y if corner & 2 else y,
                            z + factor_z if corner & 4 else z,
                            dense,
                            size,
                        )
                        for f in range(n_features):
                            encoded[i, level * n_features + f] += weight * entries[entry, f]

    @njit(parallel=True, **_JIT)
    def table_gradient(points, gradient, offset, resolution, scale, n_workers, table_grad):
        n_points, n_levels = points.shape[0], scale.shape[0]
        # A worker has levels of its own, so no two of them ever write the same entry, and the order of
        # additions, hence the result, is always the same. Every n-th level, so that all get coarse and fine
        # ones.
        for worker in prange(n_workers):
            for level in range(worker, n_levels, n_workers):
                entries = table_grad[offset[level] : offset[level + 1]]
                size, edge = entries.shape[0], resolution[level]
                dense = edge * edge * edge <= size
                factor_y = edge if dense else _PRIME_Y
                factor_z = edge * edge if dense else _PRIME_Z
                for i in range(n_points):
                    x, u = _cell(points[i, 0], scale[level], edge)
                    y, v = _cell(points[i, 1], scale[level], edge)
                    z, w = _cell(points[i, 2], scale[level], edge)
                    y, z = y * factor_y, z * factor_z
                    for corner in range(8):
                        weight = u if corner & 1 else _ONE - u
                        weight *= v if corner & 2 else _ONE - v
                        weight *= w if corner & 4 else _ONE - w
                        entry = _entry(
                            x + (corner & 1),
                            y + factor_y if corner & 2 else y,
                            z + factor_z if corner & 4 else z,
                            dense,
                            size,
                        )
                        for f in range(n_features):
                            entries[entry, f] += weight * gradient[i, level * n_features + f]

    @njit(parallel=True, **_JIT)
    def point_gradient(points, table, gradient, offset, resolution, scale, point_grad):
        n_points, n_levels = points.shape[0], scale.shape[0]
        for i in prange(n_points):
            grad_x, grad_y, grad_z = _ZERO, _ZERO, _ZERO
            for level in range(n_levels):
                entries = table[offset[level] : offset[level + 1]]
                size, edge = entries.shape[0], resolution[level]
                dense = edge * edge * edge <= size
                factor_y = edge if dense else _PRIME_Y
                factor_z = edge * edge if dense else _PRIME_Z
                x, u = _cell(points[i, 0], scale[level], edge)
                y, v = _cell(points[i, 1], scale[level], edge)
                z, w = _cell(points[i, 2], scale[level], edge)
                y, z = y * factor_y, z * factor_z
                for corner in range(8):
                    weight_x = u if corner & 1 else _ONE - u
                    weight_y = v if corner & 2 else _ONE - v
                    weight_z = w if corner & 4 else _ONE - w
                    entry = _entry(
                        x + (corner & 1),
                        y + factor_y if corner & 2 else y,
                        z + factor_z if corner & 4 else z,
                        dense,
                        size,
                    )
                    value = _ZERO
                    for f in range(n_features):
                        value += entries[entry, f] * gradient[i, level * n_features + f]
                    value *= scale[level]
                    grad_x += value * weight_y * weight_z * (_ONE if corner & 1 else -_ONE)
                    grad_y += value * weight_x * weight_z * (_ONE if corner & 2 else -_ONE)
                    grad_z += value * weight_x * weight_y * (_ONE if corner & 4 else -_ONE)
            # A coordinate outside the cube was moved onto its surface, whatever its value.
            point_grad[i, 0] = grad_x if _ZERO <= points[i, 0] <= _ONE else _ZERO
            point_grad[i, 1] = grad_y if _ZERO <= points[i, 1] <= _ONE else _ZERO
            point_grad[i, 2] = grad_z if _ZERO <= points[i, 2] <= _ONE else _ZERO

    return _Kernels(encode, table_gradient, point_gradient)


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
        points = points.contiguous()
        ctx.save_for_backward(points, table)
        ctx.layout = layout
        n_features = table.shape[1]
        encoded = torch.empty(len(points), len(layout.scale) * n_features)
        _kernels(n_features).encode(
            points.numpy(), table.numpy(), layout.offset, layout.resolution, layout.scale, encoded.numpy()
        )
        return encoded

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table = ctx.saved_tensors
        grid = (ctx.layout.offset, ctx.layout.resolution, ctx.layout.scale)
        kernels = _kernels(table.shape[1])
        gradient = gradient.contiguous()
        point_grad = table_grad = None
        if ctx.needs_input_grad[0]:
            point_grad = torch.empty_like(points)
            kernels.point_gradient(points.numpy(), table.numpy(), gradient.numpy(), *grid, point_grad.numpy())
        if ctx.needs_input_grad[1]:
            table_grad = torch.zeros_like(table)
            kernels.table_gradient(
                points.numpy(), gradient.numpy(), *grid, numba.get_num_threads(), table_grad.numpy()
            )
        return point_grad, table_grad, None


class NumbaHashEncoding(HashEncoding):
    """The CPU's maker: float32, deterministic whatever the number of threads."""

    def __init__(self, parameters: HashGridParameters, seed: int = 0) -> None:
        super().__init__()
        self.layout = HashGridLayout.of(parameters)
        self.output_dim = parameters.output_dim
        self.table = nn.Parameter(initial_table(parameters, seed))

    def forward(self, points: Tensor) -> Tensor:  # [N, 3] -> [N, output_dim]
        encoded: Tensor = _HashEncode.apply(points, self.table, self.layout)
        return encoded
