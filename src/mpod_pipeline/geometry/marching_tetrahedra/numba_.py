"""Marching tetrahedra on the CPU: topology in Numba, positions in PyTorch for their gradient.

Crossed edges are numbered in the order in which the tetrahedra meet them, through a hash table of edges; so
grids need no table of their own, and equal fields give equal meshes.
"""

# Numba infers the types of its kernels.
# mypy: disallow-untyped-defs=False

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mpod_pipeline.compiled import njit
from mpod_pipeline.geometry.mesh import Mesh


def _cases() -> tuple[np.ndarray, np.ndarray]:
    """For each set of inside vertices (bit i: vertex i): an even order of the four, and how many are inside.

    In it the inside vertices come first; where three are inside, the outside one does.
    """
    even = [(0, 1, 2, 3), (1, 0, 3, 2), (2, 0, 1, 3), (3, 0, 2, 1)]
    even += [(0, 2, 3, 1), (0, 3, 1, 2), (1, 2, 0, 3), (1, 3, 2, 0), (2, 3, 0, 1)]
    orders, counts = np.zeros((16, 4), np.int32), np.zeros(16, np.int32)
    for case in range(1, 15):
        inside = {i for i in range(4) if case >> i & 1}
        first = inside if len(inside) < 3 else set(range(4)) - inside
        orders[case] = next(order for order in even if set(order[: len(first)]) == first)
        counts[case] = len(inside)
    return orders, counts


_ORDERS, _COUNTS = _cases()


@njit(nogil=True, cache=True)
def _active(tetrahedra, inside):
    """The tetrahedra with vertices on both sides, and the case of each."""
    found = np.empty(len(tetrahedra), np.int32)
    cases = np.empty(len(tetrahedra), np.uint8)
    count = 0
    for t in range(len(tetrahedra)):
        case = (
            inside[tetrahedra[t, 0]]
            | inside[tetrahedra[t, 1]] << 1
            | inside[tetrahedra[t, 2]] << 2
            | inside[tetrahedra[t, 3]] << 3
        )
        found[count] = t
        cases[count] = case
        count += case != 0 and case != 15
    return found[:count], cases[:count]


@njit(nogil=True, cache=True, inline="always")
def _number(a, b, keys, numbers, edges, count):
    """The number of the crossing on edge a-b, counting a new one; returns (number, count)."""
    low, high = min(a, b), max(a, b)
    key = np.uint64(low) << np.uint64(32) | np.uint64(high)
    mask = np.uint64(len(keys) - 1)
    # Fibonacci hashing: the upper bits of a product with 2^64 / golden ratio
    slot = (key * np.uint64(11400714819323198485)) >> np.uint64(32) & mask
    while keys[slot] != key:
        if keys[slot] == np.uint64(0):
            keys[slot] = key
            numbers[slot] = count
            edges[count, 0], edges[count, 1] = low, high
            return count, count + 1
        slot = (slot + np.uint64(1)) & mask
    return numbers[slot], count


@njit(nogil=True, cache=True)
def _triangulate(tetrahedra, active, cases, orders, counts, table_size):
    """Faces [F, 3] over crossings, and the grid edge [2] of each crossing."""
    keys = np.zeros(table_size, np.uint64)
    numbers = np.empty(table_size, np.int32)
    edges = np.empty((4 * len(active), 2), np.int32)
    faces = np.empty((2 * len(active), 3), np.int64)
    crossings, triangles = 0, 0
    for k in range(len(active)):
        tetrahedron, order = tetrahedra[active[k]], orders[cases[k]]
        i, j, m, n = (
            tetrahedron[order[0]],
            tetrahedron[order[1]],
            tetrahedron[order[2]],
            tetrahedron[order[3]],
        )
        if counts[cases[k]] == 2:
            im, crossings = _number(i, m, keys, numbers, edges, crossings)
            at_in, crossings = _number(i, n, keys, numbers, edges, crossings)
            jn, crossings = _number(j, n, keys, numbers, edges, crossings)
            jm, crossings = _number(j, m, keys, numbers, edges, crossings)
            faces[triangles, 0], faces[triangles, 1], faces[triangles, 2] = im, at_in, jn
            faces[triangles + 1, 0], faces[triangles + 1, 1], faces[triangles + 1, 2] = im, jn, jm
            triangles += 2
        else:
            ij, crossings = _number(i, j, keys, numbers, edges, crossings)
            im, crossings = _number(i, m, keys, numbers, edges, crossings)
            at_in, crossings = _number(i, n, keys, numbers, edges, crossings)
            if counts[cases[k]] == 3:
                im, at_in = at_in, im
            faces[triangles, 0], faces[triangles, 1], faces[triangles, 2] = ij, im, at_in
            triangles += 1
    return faces[:triangles], edges[:crossings]


def marching_tetrahedra(vertices: Tensor, tetrahedra: Tensor, sdf: Tensor) -> Mesh:
    """See ``mpod_pipeline.geometry.marching_tetrahedra.marching_tetrahedra``."""
    corners = tetrahedra.to(torch.int32).contiguous().numpy()
    inside = (sdf.detach() > 0).to(torch.uint8).numpy()
    active, cases = _active(corners, inside)
    # a surface has about one crossing per active tetrahedron: the table stays half empty even at two
    table_size = 1 << max(8, int(4 * len(active)).bit_length())
    faces, crossed = _triangulate(corners, active, cases, _ORDERS, _COUNTS, table_size)
    edges = torch.from_numpy(crossed).long()
    a, b = edges.unbind(dim=1)
    at_a, at_b = sdf[a, None], sdf[b, None]
    positions = (vertices[a] * at_b - vertices[b] * at_a) / (at_b - at_a)
    return Mesh(positions, torch.from_numpy(faces))
