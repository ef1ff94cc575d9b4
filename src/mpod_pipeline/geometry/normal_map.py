"""A tangent-space normal map: the normals of a fine surface, painted on a mesh of fewer triangles.

As glTF has it: red to the texture's right, green to its top, blue outwards; 128 of 255 is none.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.tangents import tangent_frames
from mpod_pipeline.geometry.texture import fill_gaps, over_texels

Array = NDArray[np.floating]

#: So many vertices of the fine surface round a point say what its normal is.
NEIGHBOURS = 4
#: A vertex that looks away from the point's own normal is on the other side of something thin.
SAME_SIDE = 0.2


def normal_map(mesh: TexturedMesh, normals_at: Callable[[Array, Array], Array], size: int) -> NDArray[np.uint8]:
    """The map of a mesh, [T, T, 3] with ``size`` texels a side.

    normals_at: points [N, 3] of the mesh and its own unit normals there [N, 3] -> the fine surface's unit normals.
    """
    frames = tangent_frames(mesh.vertices, mesh.faces, mesh.uvs, mesh.normals)
    picture, covered = over_texels(mesh, np.column_stack([mesh.vertices, mesh.normals, frames]), size)
    points, normal, tangent, turn = np.split(picture[covered], [3, 6, 9], axis=1)
    normal = _unit(normal)
    tangent = _unit(tangent - normal * _dot(normal, tangent))
    across = np.cross(normal, tangent) * np.sign(turn)
    fine = normals_at(points, normal)
    within = np.column_stack([_dot(fine, axis) for axis in (tangent, across, normal)])
    within[:, 2] = within[:, 2].clip(0.05)  # no map looks inwards
    levels = np.zeros((size, size, 3), np.float32)
    levels[covered] = _unit(within)
    filled = fill_gaps(levels, covered)
    return (filled * 127 + 128).round().clip(0, 255).astype(np.uint8)


def normals_of_fine(vertices: Array, normals: Array) -> Callable[[Array, Array], Array]:
    """What `normal_map` asks of a fine surface with these vertices and unit normals, each [V, 3]."""
    tree = cKDTree(vertices)

    def at(points: Array, own: Array) -> Array:
        distance, found = tree.query(points, k=min(NEIGHBOURS, len(vertices)))
        distance, found = (each.reshape(len(points), -1) for each in (distance, found))
        near = normals[found]  # [N, K, 3]
        facing = np.einsum("nkc,nc->nk", near, own)
        weights = (facing > SAME_SIDE) / (distance + 1e-9)
        mean = np.einsum("nk,nkc->nc", weights, near)
        return np.where(weights.sum(axis=1, keepdims=True) > 0, _unit(mean), own)

    return at


def _dot(one: Array, other: Array) -> Array:
    """[N, 1]."""
    return (one * other).sum(axis=1, keepdims=True)


def _unit(vectors: Array) -> Array:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
