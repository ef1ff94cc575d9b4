"""Models that others made, in the studio beside the procedural products."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.foreign_glb import from_any_glb
from mpod_pipeline.synthesis.product import CREASE_COS
from mpod_pipeline.synthesis.solids import Array, Integers

#: Edges are at most so long, in product units: light and shade are known at vertices.
LONGEST_EDGE = 0.08
#: What a GLB says of its gloss is not read.
GLOSS = 0.1


@dataclass(frozen=True)
class TexturedModel:
    """A `Subject` whose colours are a texture's."""

    caption: str
    vertices: Array  # [V, 3]
    faces: NDArray[np.int32]  # [F, 3]
    corner_normals: Array  # [F, 3, 3]
    corner_uvs: Array  # [F, 3, 2], v down
    texture: NDArray[np.uint8]  # [H, W, 3]

    def colour(self, face: Integers, weights: Array, points: Array, normals: Array) -> Array:
        uvs = np.einsum("nk,nkc->nc", weights, self.corner_uvs[face])
        height, width = self.texture.shape[:2]
        column, row = np.clip(uvs * [width, height], 0, [width - 1, height - 1]).astype(int).T
        return self.texture[row, column].astype(np.float32) / 255

    def gloss(self, face: Integers) -> Array:
        return np.full(len(face), GLOSS, np.float32)


def read_model(glb: bytes, caption: str, front: str = "+z", up: str = "+y") -> TexturedModel:
    """The model in a GLB, which looks towards its axis ``front`` and stands along ``up``.

    Raises ProductError for what cannot be read, and for what has no surface.
    """
    mesh = from_any_glb(glb)
    turn = _turn(front, up)
    triangles = (mesh.vertices @ turn.T)[mesh.faces]
    doubled_areas = np.linalg.norm(np.cross(*np.diff(triangles, axis=1).swapaxes(0, 1)), axis=1)
    low, high = triangles.min((0, 1)), triangles.max((0, 1))
    unit = float((high - low).max())
    if not doubled_areas.any():
        raise ProductError("The GLB's triangles have no area.")
    solid = doubled_areas > 1e-9 * unit**2
    triangles = (triangles[solid] - (low + high) / 2) / unit
    normals = _creased(triangles, (mesh.normals @ turn.T)[mesh.faces[solid]])
    return _refined(caption, triangles, normals, mesh.uvs[mesh.faces[solid]], mesh.texture)


def _turn(front: str, up: str) -> Array:
    """The rotation [3, 3] of world coordinates that takes a file's axes to the world's front (+x) and up (+z)."""
    world = {"x": (0, 1, 0), "y": (0, 0, 1), "z": (1, 0, 0)}  # where glTF's axes are (geometry/glb.py)
    forward, upward = (np.array(world[axis[1]]) * (-1 if axis[0] == "-" else 1) for axis in (front, up))
    return np.stack([forward, np.cross(upward, forward), upward]).astype(np.float32)


def _creased(triangles: Array, normals: Array) -> Array:
    """Normals [F, 3, 3] of corners, the triangle's own at a sharp edge: files without normals have sharp edges, too."""
    flat = _unit(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]))[:, None]
    smooth = _unit(normals)
    return np.where((smooth * flat).sum(-1, keepdims=True) < CREASE_COS, flat, smooth)


def _refined(caption: str, triangles: Array, normals: Array, uvs: Array, texture: NDArray[np.uint8]) -> TexturedModel:
    """Triangles [F, 3, 3] cut until no edge is too long, with the normals and UVs of their corners."""
    from trimesh.remesh import subdivide_to_size
    from trimesh.triangles import points_to_barycentric

    soup = np.arange(3 * len(triangles)).reshape(-1, 3)
    points, cut, origin = subdivide_to_size(
        triangles.reshape(-1, 3), soup, LONGEST_EDGE, max_iter=12, return_index=True
    )
    origin = np.repeat(origin, 3)
    weights = points_to_barycentric(triangles[origin], points[cut].reshape(-1, 3))
    corner_normals = _unit(np.einsum("nk,nkc->nc", weights, normals[origin]))
    corner_uvs = np.einsum("nk,nkc->nc", weights, uvs[origin])
    vertices, welded = np.unique(points.astype(np.float32).round(6), axis=0, return_inverse=True)
    return TexturedModel(
        caption,
        vertices,
        welded.reshape(-1)[cut].astype(np.int32),
        corner_normals.reshape(-1, 3, 3).astype(np.float32),
        corner_uvs.reshape(-1, 3, 2).astype(np.float32),
        texture,
    )


def _unit(vectors: Array) -> Array:
    """Of [..., 3]."""
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-12)
