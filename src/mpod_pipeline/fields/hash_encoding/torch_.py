"""The hash encoding in plain PyTorch, on any device and in any float type.

Level by level, and its gradient by hand: what autograd would keep for it is two hundred times what it is made of. A
level's entries and weights take 200 bytes a point for the moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpod_pipeline.fields.hash_encoding.interface import HASH_PRIMES, HashGridLayout, TableEncoding


class TorchHashEncoding(TableEncoding):
    """Plain PyTorch."""

    def forward(self, points: Tensor) -> Tensor:  # [N, 3] -> [N, output_dim]
        return _HashEncode.apply(points, self.table, self.layout)


class _HashEncode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
        ctx.save_for_backward(points, table)
        ctx.layout = layout
        levels = [
            (_weights(fraction)[..., None] * _features(table, entries)).sum(dim=1)
            for _, entries, fraction in _levels(points, layout)
        ]
        return torch.cat(levels, dim=1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        points, table = ctx.saved_tensors
        by_points = torch.zeros_like(points) if ctx.needs_input_grad[0] else None
        by_table = torch.zeros_like(table) if ctx.needs_input_grad[1] else None
        for (scale, entries, fraction), by_level in zip(
            _levels(points, ctx.layout), gradient.split(table.shape[1], dim=1), strict=True
        ):
            if by_table is not None:
                shares = _weights(fraction)[..., None] * by_level[:, None]  # [N, 8, F]
                by_table.index_add_(0, entries.flatten(), shares.flatten(end_dim=1))
            if by_points is not None:
                values = (_features(table, entries) * by_level[:, None]).sum(dim=2)
                by_points += scale * _slopes(values, fraction)
        if by_points is not None:  # a coordinate outside was moved onto the surface, whatever its value
            by_points *= (points >= 0) & (points <= 1)
        return by_points, by_table, None


def _levels(points: Tensor, layout: HashGridLayout) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Of each level its scale, the table's entries at the corners of the points' cells [N, 8], and how far in its cell
    a point [N, 3] lies along each axis. Corners are in the order of `torch.cartesian_prod`: z fastest.
    """
    inside = points.clamp(0, 1)
    for level, scale in enumerate(layout.scale.tolist()):
        first, last = layout.offset[level : level + 2].tolist()
        position = inside * scale + 0.5
        cell = position.floor().nan_to_num()  # a NaN may be in any cell: its fraction stays one
        fraction = position - cell
        x, y, z = (torch.stack([low, low + 1], dim=1) for low in cell.long().unbind(dim=1))  # [N, 2] each
        x, y, z = x[:, :, None, None], y[:, None, :, None], z[:, None, None, :]
        if layout.is_dense(level):
            edge = int(layout.resolution[level])
            index = x + y * edge + z * edge**2
        else:
            index = (x * HASH_PRIMES[0]) ^ (y * HASH_PRIMES[1]) ^ (z * HASH_PRIMES[2])
        yield scale, first + index.flatten(start_dim=1) % (last - first), fraction


def _features(table: Tensor, entries: Tensor) -> Tensor:  # [N, 8] -> [N, 8, F]
    return table.index_select(0, entries.flatten()).view(*entries.shape, table.shape[1])


def _weights(fraction: Tensor) -> Tensor:  # [N, 3] -> [N, 8]
    x, y, z = torch.stack([1 - fraction, fraction], dim=1).unbind(dim=2)  # [N, 2] each
    return (x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]).flatten(start_dim=1)


def _slopes(values: Tensor, fraction: Tensor) -> Tensor:
    """The gradient [N, 3], by the fractions, of what is interpolated between corners' values [N, 8]."""
    x, y, z = torch.stack([1 - fraction, fraction], dim=1).unbind(dim=2)  # [N, 2] each
    corners = values.view(-1, 2, 2, 2)
    by_x = (corners[:, 1] - corners[:, 0]) * y[:, :, None] * z[:, None]
    by_y = (corners[:, :, 1] - corners[:, :, 0]) * x[:, :, None] * z[:, None]
    by_z = (corners[:, :, :, 1] - corners[:, :, :, 0]) * x[:, :, None] * y[:, None]
    return torch.stack([slope.sum(dim=(1, 2)) for slope in (by_x, by_y, by_z)], dim=1)
