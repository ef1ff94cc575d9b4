"""Pictures with depths, for the depth network."""

from __future__ import annotations

from collections import Counter

import numpy as np

from mpod_pipeline.synthesis.depths import HOLLOW_FAMILIES, depth_members, photograph_depths, photograph_many_depths
from mpod_pipeline.synthesis.families import HELD_OUT_FAMILY


def test_hollow_families_come_more_often_and_the_held_out_one_never() -> None:
    members = depth_members("train", 300)
    count = Counter(family for family, _ in members)
    assert HELD_OUT_FAMILY not in count and len({seed for _, seed in members}) == 300
    assert all(count[family] >= 3 * count["chair"] for family in HOLLOW_FAMILIES)


def test_depths_are_where_the_product_is() -> None:
    views = photograph_depths(("mug", 3), 6, 64)
    there = views.depth > 0
    seen = views.pictures.min(axis=-1) < 255
    assert (there == seen).mean() > 0.98
    # The camera is 2.5 away, and no product reaches further than 1 from the middle.
    assert views.depth[there].min() > 1.5 and views.depth[there].max() < 3.5
    assert (views.elevation_deg[1::2] >= 40).all()


def test_one_looks_into_a_mug() -> None:
    """From above, what is in the middle of its opening is further away than its rim."""
    views = photograph_depths(("mug", 3), 8, 64)
    spread = [
        np.ptp(depth[depth > 0].astype(float))
        for depth, e in zip(views.depth, views.elevation_deg, strict=True)
        if e > 50
    ]
    assert min(spread) > 0.5


def test_many_are_the_same_as_one_by_one() -> None:
    (made,) = photograph_many_depths([("bowl", 5)], 2, 32, workers=1)
    one = photograph_depths(("bowl", 5), 2, 32)
    assert np.array_equal(made.pictures, one.pictures) and np.array_equal(made.depth, one.depth)
