"""Which way a texture lies on a surface: what a normal map is relative to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def tangent_frames(vertices: Array, faces: NDArray[np.integer], uvs: Array, normals: Array) -> NDArray[np.float32]:
    """glTF's tangents [V, 4] of vertices [V, 3] with unit normals [V, 3] and UVs [V, 2] (v down), faces [F, 3].

    The first three are a unit vector at a right angle to the normal, towards the texture's right; the fourth is 1 where
    the cross product of normal and tangent leads to the texture's top, and -1 where the texture is mirrored. Means over
    each vertex's faces; any direction where UVs give none.
    """
    corners, flat = vertices[faces].astype(np.float64), uvs[faces].astype(np.float64)
    (one, other), (by_one, by_other) = ((each[:, 1] - each[:, 0], each[:, 2] - each[:, 0]) for each in (corners, flat))
    sign = np.sign(by_one[:, 0] * by_other[:, 1] - by_one[:, 1] * by_other[:, 0])[:, None]
    right = sign * (one * by_other[:, 1:] - other * by_one[:, 1:])
    top = sign * (one * by_other[:, :1] - other * by_one[:, :1])
    rights, tops = np.zeros((2, len(vertices), 3))
    for corner in faces.T:
        np.add.at(rights, corner, right)
        np.add.at(tops, corner, top)
    normals = normals.astype(np.float64)
    anything = np.eye(3)[np.abs(normals).argmin(axis=1)]
    tangent = _across(rights, normals)
    tangent = np.where(np.linalg.norm(tangent, axis=1, keepdims=True) > 1e-9, tangent, _across(anything, normals))
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    mirrored = (np.cross(normals, tangent) * tops).sum(axis=1) < 0
    return np.column_stack([tangent, np.where(mirrored, -1.0, 1.0)]).astype(np.float32)


def _across(vectors: Array, normals: Array) -> Array:
    """What of vectors [N, 3] is at a right angle to unit normals [N, 3], as unit vectors; 0 for none."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.where(length > 0, length, 1)
    return vectors - normals * (vectors * normals).sum(axis=1, keepdims=True)
