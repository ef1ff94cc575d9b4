"""The tetrahedral grid of DMTet, generated for any resolution.

A body-centred cubic lattice: the corners of cubes and their centres. Two neighbouring centres and an edge of the square
between them make a tetrahedron. All are congruent, with dihedral angles of 60 and 90 degrees; the usual cut of each
cube into six has 45 to 90 degrees and favours one diagonal, which shows in the surface.
"""

# Numba infers the types of its kernels.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.base.compiled import njit

# The square between two centres that are neighbours along x, y, z, as offsets of its corners from the first
# centre's cube, in the sense that makes (centre, neighbour, corner, next corner) positively oriented.
_SQUARES = np.array(
    [
        [(1, 0, 0), (1, 1, 0), (1, 1, 1), (1, 0, 1)],
        [(0, 1, 0), (0, 1, 1), (1, 1, 1), (1, 1, 0)],
        [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)],
    ]
)


@dataclass(frozen=True)
class TetrahedralGrid:
    """vertices: [V, 3]. tetrahedra: [T, 4] int32, positively oriented. boundary: [V] bool, on the hull.

    cell: the lattice's cube side; neighbouring vertices are cell or cell * sqrt(3) / 2 apart.
    """

    vertices: Tensor
    tetrahedra: Tensor
    boundary: Tensor
    cell: float

    def to(self, device: torch.device | str) -> TetrahedralGrid:
        vertices, tetrahedra, boundary = self.vertices, self.tetrahedra, self.boundary
        return TetrahedralGrid(vertices.to(device), tetrahedra.to(device), boundary.to(device), self.cell)


def _lattice(counts: NDArray) -> NDArray:
    """All integer points of [0, counts), the last axis fastest: [N, 3]."""
    return np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1).reshape(-1, 3)


def _index(points: NDArray, counts: NDArray) -> NDArray:
    """The rows of points [..., 3] in ``_lattice(counts)``."""
    return (points[..., 0] * counts[1] + points[..., 1]) * counts[2] + points[..., 2]


def box_grid(lower: Tensor, upper: Tensor, resolution: int) -> TetrahedralGrid:
    """A grid of about ``resolution ** 3`` vertices over the box from lower [3] to upper [3], or a little more.

    The hull is bumpy: between the outermost centres only the lattice's corners reach the box's faces.
    """
    low, side = lower.double().numpy(), (upper - lower).double().numpy()
    cell = float((2 * side.prod()) ** (1 / 3) / resolution)  # a cell has a corner and a centre
    counts = np.maximum(2, np.ceil(side / cell - 1e-6).astype(np.int64))
    cubes, corners = _lattice(counts), _lattice(counts + 1)
    start = low - (counts * cell - side) / 2
    vertices = np.concatenate([corners, cubes + 0.5]) * cell + start
    tetrahedra = []
    for axis, square in enumerate(_SQUARES):
        step = np.eye(3, dtype=np.int64)[axis]
        here = _lattice(counts - step)
        corner = _index(here[:, None] + square, counts + 1)  # [N, 4]
        centre, beyond = (len(corners) + _index(cube, counts) for cube in (here, here + step))
        tetrahedra += [np.stack([centre, beyond, corner[:, k], corner[:, (k + 1) % 4]], axis=1) for k in range(4)]
    on_hull = [
        ((points == 0) | (points == last)).any(axis=1) for points, last in ((corners, counts), (cubes, counts - 1))
    ]
    return TetrahedralGrid(
        torch.from_numpy(vertices).float(),
        torch.from_numpy(np.concatenate(tetrahedra).astype(np.int32)),
        torch.from_numpy(np.concatenate(on_hull)),
        cell,
    )


@njit(nogil=True, cache=True)
def sign_components(tetrahedra, inside):
    """The connected set that each vertex belongs to: vertices of one side, joined by edges of tetrahedra.

    tetrahedra: [T, 4]. inside: [V] bool. Returns [V] int64, the smallest vertex of the set. As a field on
    the grid is linear in a tetrahedron, the sets inside are the pieces of its solid, those outside its
    hollows and its surroundings.
    """
    parent = np.arange(len(inside))
    for t in range(len(tetrahedra)):
        for i in range(3):
            for j in range(i + 1, 4):
                a, b = tetrahedra[t, i], tetrahedra[t, j]
                if inside[a] != inside[b] or parent[a] == parent[b]:
                    continue
                while parent[a] != a:
                    parent[a] = parent[parent[a]]
                    a = parent[a]
                while parent[b] != b:
                    parent[b] = parent[parent[b]]
                    b = parent[b]
                parent[max(a, b)] = min(a, b)
    for v in range(len(parent)):
        parent[v] = parent[parent[v]]  # the smaller vertices are done: one step reaches the root
    return parent
