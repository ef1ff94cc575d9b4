"""Measures of meshes against closed forms."""

from math import sqrt

import pytest
import torch

from mpod_pipeline.geometry.mesh import (
    Mesh,
    Topology,
    check_mesh,
    face_components,
    is_watertight,
    keep_large_components,
    sample_surface,
    select_faces,
    simplify,
)
from tests.geometry.shapes import ball, box, euler_number, plane


def join(*meshes: Mesh) -> Mesh:
    vertices, faces, count = [], [], 0
    for mesh in meshes:
        vertices.append(mesh.vertices)
        faces.append(mesh.faces + count)
        count += len(mesh.vertices)
    return Mesh(torch.cat(vertices), torch.cat(faces))


def moved(mesh: Mesh, x: float) -> Mesh:
    return Mesh(mesh.vertices + torch.tensor([x, 0.0, 0.0]), mesh.faces)


def test_measures_of_a_box() -> None:
    mesh = box(1.0, 2.0, 3.0)
    assert float(mesh.area()) == pytest.approx(2 * (2 + 3 + 6))
    assert float(mesh.volume()) == pytest.approx(6)
    assert len(mesh.topology.edges) == 12 + 6
    outward = (mesh.face_normals() * mesh.corners().mean(dim=1)).sum(dim=-1)
    assert (outward > 0).all()
    assert float(Mesh(mesh.vertices, mesh.faces.flip(1)).volume()) == pytest.approx(-6)


def test_vertex_normals_of_a_sphere_point_outwards() -> None:
    mesh = ball(0.7)
    directions = mesh.vertices / mesh.vertices.norm(dim=-1, keepdim=True)
    # facets of about 0.1 on a radius of 0.7 turn by up to 0.1 / 0.7 / 2 radians against the sphere
    assert ((mesh.vertex_normals() * directions).sum(dim=-1) > 0.99).all()


def test_the_volumes_gradient_is_the_area_moved_along_the_normals() -> None:
    mesh = box(2.0, 2.0, 2.0)
    size = torch.tensor(1.0, requires_grad=True)
    (gradient,) = torch.autograd.grad(Mesh(mesh.vertices * size, mesh.faces).volume(), size)
    assert float(gradient) == pytest.approx(3 * 8)


def test_facts_of_closed_open_and_broken_meshes() -> None:
    cube = box()
    facts = check_mesh(cube)
    assert (facts.watertight, facts.components, euler_number(cube)) == (True, 1, 2)
    assert not check_mesh(select_faces(cube, torch.arange(12) > 0)).watertight
    assert not check_mesh(plane(3)).watertight
    turned = cube.faces.clone()
    turned[0] = turned[0].flip(0)
    assert not is_watertight(Mesh(cube.vertices, turned))
    assert not is_watertight(Mesh(cube.vertices, cube.faces[:0]))


def test_adjacent_faces_of_a_strip_share_its_inner_edges() -> None:
    pairs = Topology.of(torch.tensor([[0, 1, 2], [2, 1, 3], [2, 3, 4]]), 5).adjacent_faces
    assert sorted(map(tuple, pairs.sort(dim=1).values.tolist())) == [(0, 1), (1, 2)]
    assert len(box().topology.adjacent_faces) == 18


def test_the_edges_are_those_of_unique_rows() -> None:
    mesh = ball(0.7, 16)
    faces = mesh.faces
    rows = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).sort(dim=1).values
    expected, count = torch.unique(rows, dim=0, return_counts=True)
    assert torch.equal(mesh.topology.edges, expected)
    assert torch.equal(mesh.topology.count, count)
    assert torch.equal(rows[mesh.topology.sides], expected.repeat_interleave(count, dim=0))


def test_components_are_told_apart_and_small_ones_dropped() -> None:
    mesh = join(moved(box(0.1, 0.1, 0.1), 5.0), box(), moved(box(0.5, 0.5, 0.5), 3.0))
    count, part = face_components(mesh)
    assert count == 3
    assert [len(part[i * 12 : i * 12 + 12].unique()) for i in range(3)] == [1, 1, 1]
    assert float(keep_large_components(mesh).volume()) == pytest.approx(1)
    # areas relative to the largest: 0.01, 1, 0.25
    assert float(keep_large_components(mesh, 0.2).volume()) == pytest.approx(1.125)
    assert len(keep_large_components(mesh, 0.005).faces) == 36
    assert len(keep_large_components(mesh).vertices) == 8


def test_of_two_equal_components_one_is_kept() -> None:
    mesh = join(box(), moved(box(), 3.0))
    assert check_mesh(keep_large_components(mesh)).components == 1


def test_samples_lie_on_the_surface_and_spread_by_area() -> None:
    mesh = box(1.0, 1.0, 3.0)
    points, face = sample_surface(mesh, 4000, torch.Generator().manual_seed(0))
    distance = (points.abs() - torch.tensor([0.5, 0.5, 1.5])).amax(dim=-1)
    assert distance.abs().max() < 1e-5
    caps = float((mesh.face_normals()[face][:, 2].abs() > 0.5).float().mean())
    # two of 14 units of area; the deviation of a share p of 4000 is sqrt(p (1 - p) / 4000) = 0.0055
    assert caps == pytest.approx(2 / 14, abs=4 * 0.0055)
    assert points.mean(dim=0).abs().max() < 0.06


def test_simplifying_keeps_to_the_limit_and_the_shape() -> None:
    mesh = ball(0.7, 32)
    small = simplify(mesh, 1000)
    assert 500 < len(small.faces) <= 1000
    assert float(small.volume()) == pytest.approx(float(mesh.volume()), rel=0.01)
    assert is_watertight(small)
    assert (small.vertices.dtype, small.faces.dtype) == (torch.float32, torch.int64)
    assert simplify(mesh, 10**6) is mesh


def test_normals_of_a_slanted_triangle() -> None:
    mesh = Mesh(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 1]]), torch.tensor([[0, 1, 2]]))
    expected = torch.tensor([0.0, -1, 1]) / sqrt(2)
    assert torch.allclose(mesh.face_normals()[0], expected)
    assert torch.allclose(mesh.vertex_normals(), expected.expand(3, 3))
