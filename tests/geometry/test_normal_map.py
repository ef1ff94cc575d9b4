"""A normal map says which way the fine surface looks: on a plate whose bumps are drawn, and on a bumpy ball."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mpod_pipeline.geometry.glb import Material, TexturedMesh, from_glb, to_glb
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.normal_map import normal_map, normals_of_fine
from mpod_pipeline.geometry.tangents import tangent_frames
from mpod_pipeline.geometry.texture import bake, over_texels
from tests.geometry.shapes import ball

SIZE = 256


def unit(vectors: NDArray) -> NDArray:
    lengths: NDArray = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / lengths


@pytest.fixture
def plate() -> TexturedMesh:
    """A square that looks to the front (+x), its texture upright on it: +y is to the right, +z is up."""
    yz = np.array([[-1, 1], [1, 1], [1, -1], [-1, -1]]) / 2
    vertices = np.column_stack([np.zeros(4), yz]).astype(np.float32)
    uvs = (yz * [1, -1] + 0.5).astype(np.float32)
    normals = np.tile(np.float32([1, 0, 0]), (4, 1))
    return TexturedMesh(vertices, np.array([[0, 2, 1], [0, 3, 2]]), uvs, normals, np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(("towards", "colour"), [([1, 0, 0], 2), ([1, 0.5, 0], 0), ([1, 0, 0.5], 1)])
def test_red_is_right_green_is_up_blue_is_out(plate: TexturedMesh, towards: list[float], colour: int) -> None:
    made = normal_map(plate, lambda points, own: np.tile(unit(np.array(towards, float)), (len(points), 1)), 8)
    expected = [128, 128, 128 + 127 * unit(np.array(towards, float))[0]]
    if colour < 2:
        expected[colour] += 127 * unit(np.array(towards, float))[colour + 1]
    assert np.abs(made[4, 4] - np.array(expected)).max() <= 1
    mirrored = replace(plate, uvs=(plate.uvs * [-1, 1] + [1, 0]).astype(np.float32))
    turned = normal_map(mirrored, lambda points, own: np.tile(unit(np.array([1, 0.5, 0])), (len(points), 1)), 8)
    assert turned[4, 4, 0] < 100  # right on the plate is left in such a texture


def bumpy(points: torch.Tensor) -> torch.Tensor:
    """A ball of radius 0.6 with waves on it: points on it, from points on a round one."""
    directions = points / points.norm(dim=1, keepdim=True)
    waves = 0.012 * (9 * directions).sin().prod(dim=1, keepdim=True)
    return directions * (0.6 + waves)


def true_normals(points: NDArray) -> NDArray:
    """Of the bumpy ball: the gradient of |p| - radius(direction)."""
    p = torch.from_numpy(points).double().requires_grad_()
    (p.norm(dim=1) - bumpy(p).norm(dim=1)).sum().backward()
    assert p.grad is not None
    return unit(p.grad.numpy())


def test_a_fine_bumpy_ball_is_seen_on_a_coarse_round_one() -> None:
    round_one, coarse = ball(0.6, 64), ball(0.6, 12)
    fine = Mesh(bumpy(round_one.vertices.float()), round_one.faces)
    mesh = bake(Mesh(coarse.vertices.float(), coarse.faces), lambda points: points * 0 + 0.5, SIZE)
    made = normal_map(mesh, normals_of_fine(fine.vertices.numpy(), fine.vertex_normals().numpy()), SIZE)
    frames = tangent_frames(mesh.vertices, mesh.faces, mesh.uvs, mesh.normals)  # and as a viewer uses them:
    picture, covered = over_texels(mesh, np.column_stack([mesh.vertices, mesh.normals, frames]), SIZE)
    points, normal, right, turn = np.split(picture[covered], [3, 6, 9], axis=1)
    normal, up = unit(normal), np.cross(normal, right) * np.sign(turn)
    levels = (made[covered].astype(float) - 128) / 127
    seen = unit(levels[:, :1] * right + levels[:, 1:2] * up + levels[:, 2:] * normal)
    true = true_normals(points)

    def degrees(found: NDArray) -> float:
        return float(np.degrees(np.arccos((found * true).sum(axis=1).clip(-1, 1))).mean())

    assert degrees(normal) > 3 * degrees(seen) and degrees(seen) < 2


def test_behind_a_thin_wall_the_other_side_is_not_seen() -> None:
    wall = np.array([[0.0, y, 0] for y in np.linspace(-1, 1, 20)])
    vertices = np.concatenate([wall, wall - [0.01, 0, 0]])
    normals = np.concatenate([np.tile([1.0, 0, 0], (20, 1)), np.tile([-1.0, 0, 0], (20, 1))])
    points, own = wall[:3] - [0.008, 0, 0], np.tile([1.0, 0, 0], (3, 1))
    np.testing.assert_allclose(normals_of_fine(vertices, normals)(points, own), own)
    np.testing.assert_allclose(normals_of_fine(vertices[20:], normals[20:])(points, own), own)


def test_the_file_has_it_and_gives_it_back(plate: TexturedMesh) -> None:
    bumps = np.zeros((64, 64, 3), np.uint8) + np.uint8([128, 150, 250])
    for occlusion in (None, np.full((64, 64), 200, np.uint8)):
        data = to_glb(replace(plate, material=Material(0.4, 0.0, occlusion, normals=bumps)))
        returned = from_glb(data).material
        assert returned.normals is not None and np.abs(returned.normals.astype(int) - bumps).max() <= 3
        document = json.loads(data[20 : 20 + int.from_bytes(data[12:16], "little")])
        place = document["textures"][document["materials"][0]["normalTexture"]["index"]]["source"]
        assert document["images"][place]["name"] == "normals"
    assert from_glb(to_glb(plate)).material.normals is None


def test_khronos_validator_finds_nothing(
    khronos_report: Callable[[Path], dict[str, Any]] | None, tmp_path: Path, plate: TexturedMesh
) -> None:
    if khronos_report is None:
        pytest.skip("needs node, npm and its registry")
    bumps = np.zeros((64, 64, 3), np.uint8) + np.uint8([128, 128, 255])
    (tmp_path / "plate.glb").write_bytes(to_glb(replace(plate, material=Material(normals=bumps)), 0.3))
    issues = khronos_report(tmp_path / "plate.glb")["issues"]
    assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
