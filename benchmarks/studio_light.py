"""How far a texture's colours are from the product's own, with the studio's light in them and without.

Products of the generator, whose colours are known; no number of `method/studio_light.py` was chosen by the held-out
ones. Colours are made equally bright before they are compared, as no photo tells how much light there was. First on the
true shapes, their normals as they are and with waves of 0.3 (17 degrees) on them, as the models' shapes are not the
true ones. Then, with --workspace, on models that a run made of photos of such products, whose ids are FAMILY-SEED.

    python benchmarks/studio_light.py [--workspace WORKSPACE]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mpod_pipeline.geometry.glb import from_glb
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.studio_light import fit_light, with_light, without_light
from mpod_pipeline.metrics.colour import ciede2000, srgb_to_lab
from mpod_pipeline.metrics.ground_truth import psnr
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize_numpy
from mpod_pipeline.synthesis.ground_truth import visible_faces
from mpod_pipeline.synthesis.product import project
from mpod_pipeline.synthesis.studio import Scene
from mpod_pipeline.synthesis.views import scene_of

CHOSEN_BY = (("trainer", 3_000_002), ("mug", 3_000_009), ("lamp", 3_000_000), ("mug", 2_000_003), ("sofa", 2_000_013))
HELD_OUT = (
    ("bowl", 2_000_007),
    ("chair", 2_000_010),
    ("compound", 2_000_022),
    ("handbag", 2_000_014),
    ("lamp", 2_000_009),
    ("teapot", 2_000_004),
    ("trainer", 2_000_000),
    ("vase", 2_000_006),
)
POINTS, RESOLUTION = 20_000, 128


def points_of(scene: Scene) -> tuple[NDArray, NDArray, NDArray, NDArray, NDArray]:
    """Lit colours, true colours, normals, openness and places of points that are seen from outside."""
    product, rng = scene.product, np.random.default_rng(0)
    corners = product.vertices[product.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    area *= visible_faces(scene.placement.apply(product.vertices), product.faces, 160)
    face = rng.choice(len(area), POINTS, p=area / area.sum())
    weights = rng.dirichlet([1, 1, 1], POINTS).astype(np.float32)
    lit, normals = scene._matt(face, weights)
    places = np.einsum("nk,nkc->nc", weights, corners[face])
    openness = (np.einsum("nk,nk->n", weights, scene.occlusion[product.faces[face]]) - 0.35) / 0.65
    return lit.clip(0, 1), own_colours(scene, face, weights), normals, openness.clip(0, 1), places


def own_colours(scene: Scene, face: NDArray, weights: NDArray) -> NDArray:
    product = scene.product
    normals = np.einsum("nk,nkc->nc", weights, product.corner_normals[face])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    return product.colour(
        face, weights, np.einsum("nk,nkc->nc", weights, product.vertices[product.faces[face]]), normals
    )


def with_waves(normals: NDArray, places: NDArray, height: float) -> NDArray:
    rng = np.random.default_rng(0)
    for _ in range(6):
        wave = np.sin(places @ rng.normal(size=3) * 12 + rng.uniform(0, 6.3))
        normals = normals + height / 3**0.5 * wave[:, None] * rng.normal(size=3) / 6**0.5 * 2**0.5
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def apart(made: NDArray, true: NDArray) -> float:
    """Mean CIEDE2000 of colours [N, 3], made equally bright."""
    level = np.exp(np.median(np.log(true.clip(0.02)) - np.log(made.clip(0.02))))
    one, other = (srgb_to_lab(torch.from_numpy(each.clip(0, 1))) for each in (made * level, true))
    return float(ciede2000(one, other).mean())


def on_true_shapes(members: tuple[tuple[str, int], ...], height: float) -> NDArray:
    """Before and after, of each product."""
    found = []
    for family, seed in members:
        lit, true, normals, openness, places = points_of(scene_of(family, seed)[0])
        seen = with_waves(normals, places, height)
        light = fit_light(lit, seen, openness).on(seen, openness)
        found.append((apart(lit, true), apart(lit / light[:, None], true)))
    return np.array(found)


def on_a_model(glb: bytes, family: str, seed: int) -> tuple[float, ...]:
    """Before and after from the photo's side, and from eight sides; and the PSNR of the photo's view, lit again."""
    scene, elevation = scene_of(family, seed)
    mesh = from_glb(glb)
    bare, light = without_light(mesh)
    cameras = Cameras.at([float(azimuth) for azimuth in range(0, 360, 45)], elevation)
    pictures = [draw(each, cameras, RESOLUTION) for each in (mesh, bare)]
    found = []
    for view, points in enumerate(project(cameras, scene.placement.apply(scene.product.vertices))):
        face, weights, _ = rasterize_numpy(points, scene.product.faces, RESOLUTION, RESOLUTION)
        both = (face >= 0) & (pictures[0][1][view] > 0.999).numpy()
        true = own_colours(scene, face[both], weights[both])
        found.append([apart(picture[view].numpy()[both], true) for picture, _, _ in pictures])
    lit, again = (draw(each, cameras[0], RESOLUTION)[0].permute(0, 3, 1, 2) for each in (mesh, with_light(bare, light)))
    return (*found[0], *np.mean(found, axis=0), float(psnr(again, lit)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path)
    workspace = parser.parse_args().workspace
    for title, members in (("chosen by", CHOSEN_BY), ("held out", HELD_OUT)):
        for height in (0.0, 0.3):
            found = on_true_shapes(members, height)
            worse = (found[:, 1] > found[:, 0]).sum()
            before, after = found.mean(axis=0)
            print(f"{title}, waves {height}: CIEDE2000 {before:.2f} -> {after:.2f}; worse: {worse} of {len(found)}")
    for path in sorted((workspace / "07_model_output/meshes").glob("*-*.glb")) if workspace else ():
        family, seed = path.stem.split("-")
        if not seed.isdigit():
            continue
        front, front_after, all_round, after, back = on_a_model(path.read_bytes(), family, int(seed))
        print(
            f"{path.stem}: front {front:.2f} -> {front_after:.2f}; all round {all_round:.2f} -> {after:.2f}", end="; "
        )
        print(f"lit again {back:.1f} dB")


if __name__ == "__main__":
    main()
