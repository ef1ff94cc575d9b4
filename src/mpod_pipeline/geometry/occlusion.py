"""Ambient occlusion: how much of the sky each point of a surface sees, baked for viewers that light models evenly."""

from __future__ import annotations

from math import pi

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.texture import fill_gaps, over_texels
from mpod_pipeline.rendering.rasterize import rasterize_numpy

#: Directions from which the surface is looked at, and pixels a side of each look.
DIRECTIONS, RESOLUTION = 96, 256
#: What is no further behind the seen surface than this counts as seen, of the model's size: a pixel's slope.
BIAS = 0.02
#: From so far away, of the model's size, that the picture is all but parallel.
FAR = 64.0


def ambient_occlusion(
    vertices: NDArray[np.float32], faces: NDArray[np.int64], normals: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The share of the hemisphere over each vertex that nothing hides, weighted by the cosine: [V] in [0, 1].

    vertices, normals: [V, 3]. faces: [F, 3]. Looks at the model from all sides and asks which vertices are in front.
    """
    size = float(np.ptp(vertices, axis=0).max())
    points = (vertices - (vertices.max(axis=0) + vertices.min(axis=0)) / 2) / size
    seen = np.zeros(len(points))
    all_weights = np.zeros(len(points))
    for direction in spread_directions(DIRECTIONS):
        right, up = _across(direction)
        depth = FAR - points @ direction
        flat = np.column_stack([points @ right, points @ up, depth]).astype(np.float32)
        _, _, nearest = rasterize_numpy(flat, faces, RESOLUTION, RESOLUTION)
        columns = ((flat[:, 0] + 1) / 2 * RESOLUTION).astype(int).clip(0, RESOLUTION - 1)
        rows = ((1 - flat[:, 1]) / 2 * RESOLUTION).astype(int).clip(0, RESOLUTION - 1)
        front = nearest[rows, columns]
        weights = np.maximum(normals @ direction, 0)
        seen += weights * ((front == 0) | (depth <= front + BIAS))
        all_weights += weights
    return (seen / np.maximum(all_weights, 1e-6)).astype(np.float32)


def occlusion_texture(mesh: TexturedMesh, size: int) -> NDArray[np.uint8]:
    """The mesh's ambient occlusion as its texture of ``size`` texels a side shows it: [T, T]."""
    open_to = ambient_occlusion(mesh.vertices, mesh.faces, mesh.normals)
    picture, covered = over_texels(mesh, open_to[:, None], size)
    picture = picture[..., 0]
    return (fill_gaps(picture, covered).clip(0, 1) * 255).round().astype(np.uint8)


def spread_directions(count: int) -> NDArray[np.float64]:
    """Unit vectors spread evenly over the sphere (Fibonacci's spiral): [N, 3]."""
    number = np.arange(count) + 0.5
    z = 1 - 2 * number / count
    turn = number * pi * (3 - 5**0.5)
    radius = np.sqrt(1 - z**2)
    return np.column_stack([radius * np.cos(turn), radius * np.sin(turn), z])


def _across(direction: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two unit vectors at right angles to a direction and to each other."""
    other = np.eye(3)[np.abs(direction).argmin()]
    right = np.cross(other, direction)
    right /= np.linalg.norm(right)
    return right, np.cross(direction, right)
