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

from mpod_pipeline.base.compiled import njit
from mpod_pipeline.geometry.marching_tetrahedra.cases import COUNTS, ORDERS, crossings
from mpod_pipeline.geometry.mesh import Mesh


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
        i, j, m, n = (tetrahedron[order[0]], tetrahedron[order[1]], tetrahedron[order[2]], tetrahedron[order[3]])
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
    faces, crossed = _triangulate(corners, active, cases, ORDERS, COUNTS, table_size)
    return Mesh(crossings(vertices, sdf, torch.from_numpy(crossed).long()), torch.from_numpy(faces))
