"""How far the normals of an exported mesh are from the true ones, with a normal map of the finer surface and without.

Of models that a run made of photos of the generator's products, whose ids are FAMILY-SEED: mean angles, degrees, at the
texels of a texture of 1024, against the true shape's nearest point that faces the same way.

    python benchmarks/normal_map.py WORKSPACE
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.geometry.mesh import Mesh, simplify
from mpod_pipeline.geometry.normal_map import normal_map, normals_of_fine
from mpod_pipeline.geometry.tangents import tangent_frames
from mpod_pipeline.geometry.texture import bake, over_texels
from mpod_pipeline.synthesis.ground_truth import visible_faces
from mpod_pipeline.synthesis.views import scene_of

SIZE, POINTS, NEIGHBOURS, FURTHEST = 1024, 60_000, 8, 0.03


def unit(vectors: NDArray) -> NDArray:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-9)


def true_surface(family: str, seed: int) -> tuple[NDArray, NDArray]:
    """Points that are seen from outside, and their normals, in the world."""
    scene, _ = scene_of(family, seed)
    product, rng = scene.product, np.random.default_rng(0)
    corners = scene.placement.apply(product.vertices)[product.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    area *= visible_faces(scene.placement.apply(product.vertices), product.faces, 160)
    face = rng.choice(len(area), POINTS, p=area / area.sum())
    weights = rng.dirichlet([1, 1, 1], POINTS)
    normals = np.einsum("nk,nkc->nc", weights, product.corner_normals[face])
    return np.einsum("nk,nkc->nc", weights, corners[face]), unit(scene.placement.turn(normals))


def angles(surface: PaintedSurface, triangles: int, family: str, seed: int) -> tuple[float, float]:
    """Without the map and with it."""
    fine = Mesh(surface.vertices, surface.faces)
    mesh = bake(simplify(fine, triangles), lambda points: points * 0 + 0.5, SIZE)
    made = normal_map(
        mesh, normals_of_fine(fine.vertices.double().numpy(), fine.vertex_normals().double().numpy()), SIZE
    )
    frames = tangent_frames(mesh.vertices, mesh.faces, mesh.uvs, mesh.normals)
    picture, covered = over_texels(mesh, np.column_stack([mesh.vertices, mesh.normals, frames]), SIZE)
    points, normal, right, turn = np.split(picture[covered], [3, 6, 9], axis=1)
    normal, levels = unit(normal), (made[covered].astype(float) - 128) / 127
    up = np.cross(normal, right) * np.sign(turn)
    mapped = unit(levels[:, :1] * right + levels[:, 1:2] * up + levels[:, 2:] * normal)
    places, true = true_surface(family, seed)
    distance, near = cKDTree(places).query(points, k=NEIGHBOURS)
    facing = np.einsum("nkc,nc->nk", true[near], normal) > 0.2
    known = facing.any(axis=1) & (distance[:, 0] < FURTHEST)
    right_one = true[near[np.arange(len(near)), facing.argmax(axis=1)]][known]
    cosines = ((found[known] * right_one).sum(axis=1).clip(-1, 1) for found in (normal, mapped))
    without, with_map = (float(np.degrees(np.arccos(cosine)).mean()) for cosine in cosines)
    return without, with_map


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    for path in sorted((parser.parse_args().workspace / "06_models/detail_models").glob("*-*.safetensors")):
        family, seed = path.stem.split("-")
        if not seed.isdigit():
            continue
        surface = PaintedSurface.load(path)
        for triangles in (20_000, 5_000):
            without, with_map = angles(surface, triangles, family, int(seed))
            print(
                f"{path.stem}: {len(surface.faces)} -> {triangles} triangles: {without:.2f}, by the map {with_map:.2f}"
            )


if __name__ == "__main__":
    main()
