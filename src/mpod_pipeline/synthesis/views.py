"""What the priors learn from: products photographed once from the front and then from all round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.families import FAMILIES, HELD_OUT_FAMILY, NAMELESS
from mpod_pipeline.synthesis.product import make_product, place
from mpod_pipeline.synthesis.studio import Light, Scene, set_scene

#: Products of a split have seeds from here on; no seed is in two splits.
SPLIT_SEEDS = {"train": 0, "validation": 1_000_000, "test": 2_000_000, "samples": 3_000_000}
PHOTO_ELEVATION = (0.0, 20.0)
PHOTO_YAW = (-10.0, 10.0)
VIEW_ELEVATION = (-10.0, 60.0)
#: Compounds count as much as this many families.
COMPOUND_SHARE = 3
#: In training, where they teach shape as such, the nameless are three in five: as many families each.
TRAIN_SHARES = {"compound": 18, "assembly": 15}


@dataclass(frozen=True)
class ProductViews:
    """One product: view 0 is the photo (azimuth 0), the others are spread all round it."""

    family: str
    seed: int
    caption: str
    pictures: NDArray[np.uint8]  # [V, H, W, 4], straight alpha
    azimuth_deg: NDArray[np.float32]  # [V]
    elevation_deg: NDArray[np.float32]  # [V]


def split_members(split: str, count: int) -> list[tuple[str, int]]:
    """The first ``count`` (family, seed) of a split, families in turn; the held-out family only outside training."""
    turn = [family for family in FAMILIES if family not in (HELD_OUT_FAMILY, *NAMELESS)]
    if split == "train":
        turn += [family for family, share in TRAIN_SHARES.items() for _ in range(share)]
    else:
        turn += ["compound"] * COMPOUND_SHARE + [HELD_OUT_FAMILY]
    return [(turn[i % len(turn)], SPLIT_SEEDS[split] + i) for i in range(count)]


def scene_of(family: str, seed: int) -> tuple[Scene, float]:
    """A product of a split in its studio, and the elevation of its photo in degrees."""
    rng = np.random.default_rng([seed, 17])
    product = make_product(family, seed)
    elevation = float(rng.uniform(*PHOTO_ELEVATION))
    return set_scene(
        product, place(product, float(rng.uniform(*PHOTO_YAW)), elevation), Light.drawn(rng)
    ), elevation


def photograph_product(family: str, seed: int, views: int, resolution: int) -> ProductViews:
    """The photo and ``views - 1`` pictures from random places all round."""
    scene, photo_elevation = scene_of(family, seed)
    rng = np.random.default_rng([seed, 23])
    spread = (np.arange(views - 1) + rng.uniform(0, 1, views - 1)) * 360 / max(
        views - 1, 1
    ) - 180  # stratified
    azimuth = np.concatenate([[0.0], spread]).astype(np.float32)
    elevation = np.concatenate([[photo_elevation], rng.uniform(*VIEW_ELEVATION, views - 1)]).astype(
        np.float32
    )
    cameras = Cameras.at(azimuth.tolist(), elevation.tolist())
    return ProductViews(
        family, seed, scene.product.caption, scene.photograph(cameras, resolution), azimuth, elevation
    )


def photograph_many(
    members: Sequence[tuple[str, int]], views: int, resolution: int, workers: int
) -> Iterator[ProductViews]:
    """``photograph_product`` for many, in order, on several processes."""
    families, seeds = [family for family, _ in members], [seed for _, seed in members]
    if workers <= 1:
        yield from map(
            photograph_product, families, seeds, [views] * len(members), [resolution] * len(members)
        )
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield from pool.map(
            photograph_product,
            families,
            seeds,
            [views] * len(members),
            [resolution] * len(members),
            chunksize=8,
        )
