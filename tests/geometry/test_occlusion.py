"""Ambient occlusion: open surfaces see all, those in a corner a half, those inside nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.occlusion import ambient_occlusion, occlusion_texture, spread_directions
from mpod_pipeline.geometry.texture import bake
from tests.geometry.shapes import ball, box, plane


def occlusion_of(mesh: Mesh) -> np.ndarray:
    return ambient_occlusion(mesh.vertices.float().numpy(), mesh.faces.numpy(), mesh.vertex_normals().float().numpy())


def together(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    faces = [mesh.faces + int(start) for mesh, start in zip(meshes, starts, strict=False)]
    return Mesh(torch.cat([mesh.vertices.float() for mesh in meshes]), torch.cat(faces))


def test_directions_are_spread_evenly() -> None:
    directions = spread_directions(96)
    assert np.linalg.norm(directions, axis=1) == pytest.approx(1) and np.abs(directions.mean(axis=0)).max() < 0.02


def test_a_ball_sees_everything() -> None:
    assert occlusion_of(ball(0.5)).min() > 0.97


def test_the_foot_of_a_wall_sees_half() -> None:
    """Two planes at right angles: by symmetry a point of one, at the edge, sees half of its hemisphere."""
    floor = plane(40)
    wall = Mesh(floor.vertices[:, [2, 0, 1]], floor.faces)  # in x = 0, facing +x
    found = occlusion_of(together(floor, wall))[: len(floor.vertices)]
    x, y, _ = floor.vertices.T.numpy()
    middle = np.abs(y - 0.5) < 0.2
    assert found[middle & (x > 0.05) & (x < 0.11)].mean() == pytest.approx(0.55, abs=0.06)
    assert found[middle & (x > 0.95)].mean() > 0.85


def test_what_is_inside_sees_nothing() -> None:
    inner = ball(0.3, 16)
    assert occlusion_of(together(inner, box(2, 2, 2)))[: len(inner.vertices)].max() == 0


def test_the_texture_is_open_to_its_edge() -> None:
    """Between islands lies what is on them, so that seams do not shine."""
    baked = bake(together(ball(0.3, 16), box(2, 2, 2)), lambda points: points.clamp(0, 1), 128)
    texture = occlusion_texture(baked, 128)
    assert texture.shape == (128, 128) and set(np.unique(texture) // 64) >= {0, 3}
