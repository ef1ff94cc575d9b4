"""Photograph products of the generator from four sides, with their true models, for `benchmarks/real_products.py`.

    python benchmarks/photograph_products.py FOLDER [--families trainer bowl ...] [--each 1] [--split test]

FOLDER gets ``ID.front.png``, ``ID.back.png``, ``ID.left.png`` and ``ID.right.png`` with alpha, each from a height of
its own, and ``ground_truth/ID.glb`` in the front photo's frame.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mpod_pipeline.cutout.photo_file import SIDES
from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.families import TRAINED_FAMILIES
from mpod_pipeline.synthesis.ground_truth import ground_truth_mesh
from mpod_pipeline.synthesis.views import PHOTO_ELEVATION, members_of, scene_of

PIXELS = 512


def photograph(family: str, seed: int, folder: Path) -> None:
    scene, elevation = scene_of(family, seed)
    heights = np.random.default_rng([seed, 31]).uniform(*PHOTO_ELEVATION, len(SIDES))
    cameras = {"front": (0.0, elevation)} | {
        side: (azimuth, height) for (side, azimuth), height in zip(SIDES.items(), heights, strict=True)
    }
    for side, (azimuth, height) in cameras.items():
        picture = scene.photograph(Cameras.at(float(azimuth), float(height)), PIXELS)[0]
        Image.fromarray(picture).save(folder / f"{family}-{seed}.{side}.png")
    (folder / "ground_truth" / f"{family}-{seed}.glb").write_bytes(to_glb(ground_truth_mesh(scene)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--families", nargs="+", default=list(TRAINED_FAMILIES))
    parser.add_argument("--each", type=int, default=1, help="products of a family")
    parser.add_argument("--split", choices=["validation", "test"], default="test")
    arguments = parser.parse_args()
    (arguments.folder / "ground_truth").mkdir(parents=True, exist_ok=True)
    for family in arguments.families:
        for member in members_of(arguments.split, [family], arguments.each):
            photograph(*member, arguments.folder)


if __name__ == "__main__":
    main()
