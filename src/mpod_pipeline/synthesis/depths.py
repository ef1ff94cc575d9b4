"""What the depth network learns from: pictures of products, more of them from above than from the side, with depths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.families import NAMELESS, TRAINED_FAMILIES
from mpod_pipeline.synthesis.recipes import recipes
from mpod_pipeline.synthesis.studio import on_white
from mpod_pipeline.synthesis.views import SPLIT_SEEDS, VIEW_ELEVATION, by_several, scene_of

#: Those that one looks into: a picture of any other family says less about how deep something goes.
HOLLOW_FAMILIES = ("mug", "bowl", "vase")
HOLLOW_SHARE, NAMELESS_SHARE = 4, 3
#: Elevations of every other view.
ABOVE = (40.0, 60.0)


@dataclass(frozen=True)
class DepthViews:
    """V views of one product."""

    pictures: NDArray[np.uint8]  # [V, H, W, 3] on white
    depth: NDArray[np.float16]  # [V, H, W], along the viewing direction, world units; 0 beside the product
    elevation_deg: NDArray[np.float32]  # [V]


def depth_members(split: str, count: int) -> list[tuple[str, int]]:
    """The first ``count`` (family, seed) of a split, families in turn, the hollow ones more often."""
    turn = [*TRAINED_FAMILIES, *recipes()]
    turn += [*HOLLOW_FAMILIES * (HOLLOW_SHARE - 1), *NAMELESS * NAMELESS_SHARE]
    return [(turn[i % len(turn)], SPLIT_SEEDS[split] + i) for i in range(count)]


def photograph_depths(member: tuple[str, int], views: int, resolution: int) -> DepthViews:
    """A product from all round."""
    family, seed = member
    scene, _ = scene_of(family, seed)
    rng = np.random.default_rng([seed, 29])
    elevation = np.where(np.arange(views) % 2 == 0, rng.uniform(*VIEW_ELEVATION, views), rng.uniform(*ABOVE, views))
    azimuth = (np.arange(views) + rng.uniform(0, 1, views)) * 360 / views
    cameras = Cameras.at(azimuth.tolist(), elevation.tolist())
    return DepthViews(
        on_white(scene.photograph(cameras, resolution)),
        scene.depths(cameras, resolution).astype(np.float16),
        elevation.astype(np.float32),
    )


def photograph_many_depths(
    members: Sequence[tuple[str, int]], views: int, resolution: int, workers: int
) -> Iterator[DepthViews]:
    """``photograph_depths`` of many, in order, on several processes."""
    yield from by_several(partial(photograph_depths, views=views, resolution=resolution), members, workers, 8)
