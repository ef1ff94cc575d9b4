"""Measures of shape against closed forms."""

from __future__ import annotations

from math import pi

import numpy as np
import pytest
import torch

from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.metrics.shape import cavity_depth, depth_error, opening_depth, solid, volume_iou
from mpod_pipeline.synthesis.solids import cylinder, lathe
from tests.geometry.shapes import ball, box, cup, mesh_of, moved


def hemisphere(radius: float, wall: float) -> Mesh:
    """A bowl: half a ball, hollowed by half a smaller one."""
    angle = np.linspace(-pi / 2, 0, 40)
    outer, inner = (np.stack([r * np.cos(angle), r * np.sin(angle)], -1) for r in (radius, radius - wall))
    return mesh_of(lathe(np.concatenate([outer, inner[::-1]]), 0, segments=96))


def test_boxes_that_overlap_by_half_share_a_third() -> None:
    assert volume_iou(box(1.0, 1.0, 0.8), box(1.0, 1.0, 0.8)) == 1.0
    assert volume_iou(box(1.0, 1.0, 0.8), moved(box(1.0, 1.0, 0.8), 0.5, 0.0, 0.0)) == pytest.approx(1 / 3, abs=0.02)
    assert volume_iou(box(), moved(box(), 2.0, 0.0, 0.0)) == 0.0


def test_a_ball_in_its_box_fills_a_sixth_of_pi() -> None:
    assert volume_iou(ball(0.5), box()) == pytest.approx(pi / 6, rel=0.03)


@pytest.mark.parametrize("floor", [0.1, 0.5, 0.9])
def test_a_cup_against_the_plug_of_its_silhouette(floor: float) -> None:
    full = pi * 0.4**2
    cavity = pi * 0.34**2 * (1 - floor)
    plug = mesh_of(cylinder(0.4, 1.0, 0))
    assert volume_iou(plug, cup(floor)) == pytest.approx(1 - cavity / full, abs=0.03)


def test_a_bowl_is_no_lump() -> None:
    lump = hemisphere(0.6, 0.6 - 1e-3)
    assert volume_iou(lump, hemisphere(0.6, 0.1)) == pytest.approx(1 - (0.5 / 0.6) ** 3, abs=0.03)


def test_parts_that_overlap_are_one_solid() -> None:
    halves = mesh_of(cylinder(0.3, 0.7, 0), cylinder(0.3, 0.7, 0).moved((0, 0, 0.3)))
    assert volume_iou(halves, mesh_of(cylinder(0.3, 1.0, 0))) == pytest.approx(1.0, abs=0.01)


def test_a_hole_in_the_hull_does_not_empty_it() -> None:
    whole = box()
    without_a_floor = Mesh(whole.vertices, whole.faces[(whole.corners()[..., 2] > -0.4).any(1)])
    assert len(without_a_floor.faces) == 10
    assert volume_iou(without_a_floor, whole) == pytest.approx(1.0, abs=0.01)


def test_what_is_inside_a_cup_and_what_is_not() -> None:
    points = np.array([[0, 0, 0.05], [0, 0, 0.3], [0.37, 0, 0.5], [0, 0.3, 0.9], [0.45, 0, 0.5]], np.float32)
    assert solid(cup(0.1), points).tolist() == [True, False, True, False, False]


def test_how_deep_an_opening_is() -> None:
    assert opening_depth(cup(0.25)) == pytest.approx(0.75, abs=0.01)
    assert opening_depth(hemisphere(0.6, 0.1)) == pytest.approx(0.5 / 0.6, abs=0.02)
    for full in (mesh_of(cylinder(0.4, 1.0, 0)), box(), ball(0.5)):
        assert opening_depth(full) == pytest.approx(0.0, abs=0.01)


def test_what_stands_beside_a_cup_takes_no_water() -> None:
    beside = cylinder(0.1, 0.6, 0).moved((0.9, 0, 0))
    alone, post = cup(0.2), mesh_of(beside)
    both = Mesh(torch.cat([alone.vertices, post.vertices]), torch.cat([alone.faces, post.faces + len(alone.vertices)]))
    assert opening_depth(both) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize(("floor", "share"), [(0.2, 1.0), (0.6, 0.5), (0.1, 1.0), (1.0 - 1e-3, 0.0)])
def test_the_share_of_a_cavity(floor: float, share: float) -> None:
    """Deeper than the true one is no deeper."""
    assert cavity_depth(cup(floor), cup(0.2)) == pytest.approx(share, abs=0.02)


def test_a_cup_with_a_gap_holds_nothing() -> None:
    whole = cup(0.2)
    corners = whole.corners()
    gap = (corners[..., 0] > 0.3) & (corners[..., 1].abs() < 0.05)
    assert cavity_depth(Mesh(whole.vertices, whole.faces[~gap.any(1)]), whole) == pytest.approx(0.0, abs=0.02)


def test_only_hollow_things_have_a_cavity() -> None:
    assert cavity_depth(cup(0.2), box()) is None


def test_depths_from_above_tell_a_plug() -> None:
    plug, deep = moved(cup(0.95), 0, 0, -0.5), moved(cup(0.2), 0, 0, -0.5)
    assert depth_error(deep, deep) == 0.0
    assert depth_error(plug, deep) > 0.1
    # A box under a box, seen from above: everywhere further by the same length on its top.
    assert 0.05 < depth_error(box(1.0, 1.0, 0.5), moved(box(1.0, 1.0, 0.5), 0, 0, -0.1)) < 0.15
