"""Procedural products: closed, outward, placed as promised, and never in two splits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpod_pipeline.geometry.mesh import Mesh, is_watertight
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.families import FAMILIES, HELD_OUT_FAMILY
from mpod_pipeline.synthesis.materials import PATTERNS, Material
from mpod_pipeline.synthesis.product import FRAME_FRACTION, make_product, place, project
from mpod_pipeline.synthesis.solids import signed_volume
from mpod_pipeline.synthesis.studio import on_white, set_scene
from mpod_pipeline.synthesis.views import SPLIT_SEEDS, photograph_product, split_members


@pytest.mark.parametrize("family", FAMILIES)
def test_every_part_is_closed_and_outward(family: str) -> None:
    product = make_product(family, 5)
    for part in range(len(product.part_materials)):
        faces = product.faces[product.face_part == part]
        used, local = np.unique(faces, return_inverse=True)
        mesh = Mesh(torch.from_numpy(product.vertices[used]), torch.from_numpy(local.reshape(faces.shape)))
        assert is_watertight(mesh)
        assert signed_volume(product.vertices, faces) > 0
    assert product.caption.split()
    assert product.part_materials.max() < len(product.materials)


def test_a_seed_is_one_product_and_another_seed_another() -> None:
    one, same, other = make_product("mug", 1), make_product("mug", 1), make_product("mug", 2)
    assert np.array_equal(one.vertices, same.vertices) and one.caption == same.caption
    assert one.vertices.shape != other.vertices.shape or not np.array_equal(one.vertices, other.vertices)


@pytest.mark.parametrize("elevation", [0.0, 18.0])
def test_the_photo_is_centred_with_its_long_side_at_80_percent(elevation: float) -> None:
    product = make_product("toy_animal", 3)
    points = place(product, 7.0, elevation).apply(product.vertices)
    ndc = project(Cameras.at(0.0, elevation), points)[0, :, :2]
    low, high = ndc.min(0), ndc.max(0)
    np.testing.assert_allclose((low + high) / 2, 0, atol=2e-3)
    assert (high - low).max() / 2 == pytest.approx(FRAME_FRACTION, abs=2e-3)


def test_no_product_is_in_two_splits_and_the_held_out_family_is_not_trained_on() -> None:
    splits = {split: set(split_members(split, 500)) for split in SPLIT_SEEDS}
    seeds = [{seed for _, seed in members} for members in splits.values()]
    assert sum(map(len, seeds)) == len(set.union(*seeds))
    assert HELD_OUT_FAMILY not in {family for family, _ in splits["train"]}
    assert HELD_OUT_FAMILY in {family for family, _ in splits["test"]}


def test_three_fifths_of_the_training_are_of_no_kind() -> None:
    families = [family for family, _ in split_members("train", 550)]
    assert families.count("compound") == 180 and families.count("assembly") == 150
    assert families.count("mug") == 10


def test_what_is_scored_has_no_assemblies() -> None:
    """They were added for training: who is in the other splits must not change, or old scores mean nothing."""
    for split in ("validation", "test"):
        families = [family for family, _ in split_members(split, 260)]
        assert families.count("assembly") == 0 and families.count("compound") == 30
        assert families.index("watering_can") == 25 and families[:2] == ["trainer", "boot"]


def test_views_begin_with_the_photo_and_go_all_round() -> None:
    views = photograph_product("vase", 12, 9, 24)
    assert views.pictures.shape == (9, 24, 24, 4)
    assert views.azimuth_deg[0] == 0 and 0 <= views.elevation_deg[0] <= 20
    turns = np.sort(views.azimuth_deg[1:])
    assert np.diff(turns).max() < 90  # stratified: no gap wider than two of the eight sectors
    assert (views.pictures[:, :2, :2, 3] == 0).all() and (views.pictures[..., 3] == 255).any()


def test_the_light_stands_still_while_the_camera_moves() -> None:
    """A matt surface point has the same colour from two sides: what a texture can hold."""
    product = make_product("bowl", 4)
    scene = set_scene(product, place(product, 0.0, 10.0))
    weights = np.full((50, 3), 1 / 3, np.float32)
    face = np.arange(0, len(product.faces), len(product.faces) // 50)[:50].astype(np.int32)
    world = scene.placement.apply(product.vertices)
    matt = scene.surface_colours(face, weights)
    for eye in ([2.5, 0.0, 0.0], [0.0, 2.5, 0.5]):
        seen = scene._shade(face, weights, world, np.array(eye, np.float32))
        assert (seen >= matt - 1e-5).all()  # highlights only add
        assert np.median(np.abs(seen - matt)) < 0.02


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mix_their_two_colours(pattern: str) -> None:
    points = np.random.default_rng(0).uniform(-0.5, 0.5, (500, 3)).astype(np.float32)
    colours = Material((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), pattern).colour(points, np.zeros_like(points))
    assert colours.shape == (500, 3)
    np.testing.assert_allclose(colours[:, 0] + colours[:, 2], 1, atol=1e-5)
    assert (colours.std(0).max() > 0.05) == (pattern != "plain")


def test_compositing_on_white() -> None:
    pictures = np.array([[[100, 0, 0, 255], [100, 0, 0, 0], [0, 0, 0, 128]]], np.uint8)
    assert on_white(pictures).tolist() == [[[100, 0, 0], [255, 255, 255], [127, 127, 127]]]
