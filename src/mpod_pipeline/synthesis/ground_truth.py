"""The true model of a procedural product, as a textured mesh in the photo's world."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.mesh import Mesh, select_faces
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize_numpy
from mpod_pipeline.synthesis.product import project
from mpod_pipeline.synthesis.solids import Array, Integers
from mpod_pipeline.synthesis.studio import Scene

#: Points at which the true colour is known; between them the nearest one's is taken.
COLOUR_POINTS = 400_000


def ground_truth_mesh(scene: Scene, texture_size: int = 1024) -> TexturedMesh:
    """What can be seen of the product from outside, with its lit colours (without highlights) baked in."""
    world = scene.placement.apply(scene.product.vertices)
    visible = visible_faces(world, scene.product.faces)
    whole = Mesh(torch.from_numpy(world), torch.from_numpy(scene.product.faces.astype(np.int64)))
    points, colours = colour_samples(scene, world, np.flatnonzero(visible), COLOUR_POINTS)
    tree = cKDTree(points)

    def colour(at: Tensor) -> Tensor:
        return torch.from_numpy(colours[tree.query(at.numpy(), workers=-1)[1]])

    return bake(select_faces(whole, torch.from_numpy(visible)), colour, texture_size)


def visible_faces(world: Array, faces: Integers, resolution: int = 384) -> NDArray[np.bool_]:
    """Faces [F] bool that some view from all round sees; parts stuck into others are hidden."""
    cameras = Cameras.at(
        [float(a) for a in range(0, 360, 20)] * 5, [e for e in (-60.0, -25.0, 0.0, 30.0, 65.0) for _ in range(18)]
    )
    seen = np.zeros(len(faces), bool)
    for points in project(cameras, world):
        index = rasterize_numpy(points, faces, resolution, resolution)[0]
        seen[np.unique(index[index >= 0])] = True
    return seen


def colour_samples(scene: Scene, world: Array, faces: Integers, count: int) -> tuple[Array, Array]:
    """Points [count, 3] spread over the given faces, and their colours [count, 3]."""
    rng = np.random.default_rng(0)
    corners = world[scene.product.faces[faces]]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = faces[rng.choice(len(faces), count, p=area / area.sum())]
    u, v = rng.random((2, count)).astype(np.float32)
    flip = u + v > 1
    u, v = np.where(flip, 1 - u, u), np.where(flip, 1 - v, v)
    weights = np.stack([1 - u - v, u, v], -1)
    points = np.einsum("nk,nkc->nc", weights, world[scene.product.faces[chosen]])
    return points.astype(np.float32), scene.surface_colours(chosen, weights)
