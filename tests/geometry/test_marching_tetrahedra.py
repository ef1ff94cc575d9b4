"""Grids and the surfaces marched out of them, against closed forms."""

import importlib.util
from collections.abc import Callable
from functools import partial
from itertools import combinations
from math import pi

import pytest
import torch
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.geometry.marching_tetrahedra import marching_tetrahedra as by_backend
from mpod_pipeline.geometry.mesh import Mesh, check_mesh
from mpod_pipeline.geometry.tetrahedra import box_grid, sign_components
from tests.geometry.shapes import euler_number, sphere_sdf, torus_sdf, unit_grid

HAS_KAOLIN = importlib.util.find_spec("kaolin") is not None
March = Callable[[Tensor, Tensor, Tensor], Mesh]


@pytest.fixture(params=["numba", "torch"])
def marching_tetrahedra(request: pytest.FixtureRequest) -> March:
    """By each backend that runs on a CPU."""
    return partial(by_backend, backend=request.param)


def test_the_grids_tetrahedra_are_congruent_oriented_and_conforming() -> None:
    grid = box_grid(torch.tensor([-1.0, -0.5, 0.0]), torch.tensor([1.0, 0.5, 0.7]), 14)
    corners = grid.vertices[grid.tetrahedra.long()].double()
    volumes = torch.linalg.det(corners[:, 1:] - corners[:, :1]) / 6
    # two centres a cell apart over a square's edge: cell³ / 12
    assert torch.allclose(volumes, torch.full_like(volumes, grid.cell**3 / 12), rtol=1e-4)
    sides = [(corners[:, i] - corners[:, j]).norm(dim=-1) for i, j in combinations(range(4), 2)]
    lengths = torch.stack(sides, dim=1).sort(dim=1).values / grid.cell
    expected = torch.tensor([0.75**0.5] * 4 + [1.0] * 2, dtype=torch.float64)
    assert torch.allclose(lengths, expected.expand_as(lengths), rtol=1e-4)
    triangles = torch.cat([grid.tetrahedra[:, list(three)] for three in combinations(range(4), 3)])
    faces, count = torch.unique(triangles.sort(dim=1).values, dim=0, return_counts=True)
    assert count.max() == 2
    on_hull = torch.zeros(len(grid.vertices), dtype=torch.bool)
    on_hull[faces[count == 1].flatten().long()] = True
    # two opposite hull corners of the lattice belong to no tetrahedron's open face only if to no tetrahedron
    assert (grid.boundary[on_hull]).all()
    assert grid.boundary.float().mean() < 0.6


@pytest.mark.parametrize("resolution", [16, 40])
def test_a_grid_has_the_asked_for_number_of_vertices_and_covers_its_box(resolution: int) -> None:
    low, high = torch.tensor([-0.3, -1.0, -0.2]), torch.tensor([0.3, 1.0, 0.1])
    grid = box_grid(low, high, resolution)
    # whole cells, and one more layer of corners than of centres, on three sides
    assert 1 <= len(grid.vertices) / resolution**3 < (1 + 4 / resolution) ** 3
    assert (grid.vertices.amin(dim=0) <= low + 1e-6).all()
    assert (grid.vertices.amax(dim=0) >= high - 1e-6).all()


def test_a_sphere_has_its_area_its_volume_and_its_normals(marching_tetrahedra: March) -> None:
    grid = unit_grid(32)
    mesh = marching_tetrahedra(grid.vertices, grid.tetrahedra, sphere_sdf(grid.vertices, 0.8))
    # chords of a sphere: both fall short by about (cell / radius)² / 4 = 0.25%
    assert float(mesh.area()) == pytest.approx(4 * pi * 0.8**2, rel=0.01)
    assert float(mesh.volume()) == pytest.approx(4 / 3 * pi * 0.8**3, rel=0.01)
    assert mesh.vertices.norm(dim=-1).sub(0.8).abs().max() < 0.002
    facts = check_mesh(mesh)
    assert (facts.watertight, facts.components, euler_number(mesh)) == (True, 1, 2)
    large = mesh.area_vectors().norm(dim=-1) > 1e-6
    outward = (mesh.face_normals() * mesh.corners().mean(dim=1)).sum(dim=-1)
    assert (outward[large] > 0).all()


def test_a_torus_has_a_hole(marching_tetrahedra: March) -> None:
    grid = unit_grid(28)
    mesh = marching_tetrahedra(grid.vertices, grid.tetrahedra, torus_sdf(grid.vertices, 0.55, 0.25))
    facts = check_mesh(mesh)
    assert facts.watertight and facts.components == 1
    assert euler_number(mesh) == 0
    assert float(mesh.volume()) == pytest.approx(2 * pi**2 * 0.55 * 0.25**2, rel=0.03)


def test_random_signs_on_a_closed_hull_give_a_closed_oriented_surface(marching_tetrahedra: March) -> None:
    """All sixteen cases occur, in all neighbourhoods."""
    grid = unit_grid(10)
    sdf = torch.randn(len(grid.vertices), generator=torch.Generator().manual_seed(0))
    sdf = torch.where(grid.boundary, -1.0, sdf)
    mesh = marching_tetrahedra(grid.vertices, grid.tetrahedra, sdf)
    assert check_mesh(mesh).watertight
    assert float(mesh.volume()) > 0


def test_every_case_of_one_tetrahedron_faces_away_from_the_inside(marching_tetrahedra: March) -> None:
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    tetrahedron = torch.tensor([[0, 1, 2, 3]], dtype=torch.int32)
    for case in range(1, 15):
        inside = torch.tensor([case >> i & 1 for i in range(4)], dtype=torch.bool)
        mesh = marching_tetrahedra(vertices, tetrahedron, torch.where(inside, 1.0, -1.0))
        assert len(mesh.faces) == (2 if int(inside.sum()) == 2 else 1)
        away = vertices[~inside].mean(dim=0) - vertices[inside].mean(dim=0)
        assert (mesh.area_vectors() @ away > 0).all(), case


def test_the_volumes_gradient_by_an_offset_of_the_sdf_is_the_area(marching_tetrahedra: March) -> None:
    grid = unit_grid(32)
    offset = torch.zeros((), requires_grad=True)
    mesh = marching_tetrahedra(grid.vertices, grid.tetrahedra, sphere_sdf(grid.vertices, 0.7) + offset)
    (gradient,) = torch.autograd.grad(mesh.volume(), offset)
    assert float(gradient) == pytest.approx(4 * pi * 0.7**2, rel=0.01)


def test_the_gradient_by_grid_positions_moves_the_surface_with_the_grid(marching_tetrahedra: March) -> None:
    """Moving and stretching the grid moves and stretches the mesh: d volume / d scale = 3 volume."""
    grid = unit_grid(20)
    sdf = sphere_sdf(grid.vertices, 0.6)
    scale = torch.ones((), requires_grad=True)
    shift = torch.zeros(3, requires_grad=True)
    mesh = marching_tetrahedra(grid.vertices * scale + shift, grid.tetrahedra, sdf)
    by_scale, by_shift = torch.autograd.grad(mesh.volume(), [scale, shift])
    assert float(by_scale) == pytest.approx(3 * float(mesh.volume().detach()), rel=1e-4)
    assert by_shift.abs().max() < 1e-4


def test_the_gradients_of_crossings_by_hand(marching_tetrahedra: March) -> None:
    """On an edge of length 1 with values 1 and -3 the crossing is at 1/4; d/ds_a = 3/16, d/ds_b = 1/16."""
    vertices = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    sdf = torch.tensor([1.0, -3.0, -1.0, -1.0], requires_grad=True)
    mesh = marching_tetrahedra(vertices, torch.tensor([[0, 1, 2, 3]]), sdf)
    crossing = mesh.vertices[mesh.vertices[:, 0].argmax(), 0]
    assert float(crossing.detach()) == pytest.approx(0.25)
    (gradient,) = torch.autograd.grad(crossing, sdf)
    assert gradient.tolist() == pytest.approx([3 / 16, 1 / 16, 0, 0])


@pytest.mark.parametrize("smooth", [True, False])
def test_pytorchs_surface_is_the_kernels(smooth: bool) -> None:
    """The same triangles in the same order, and the same gradients."""
    grid = unit_grid(20)
    generator = torch.Generator().manual_seed(1)
    sdf = torch.randn(len(grid.vertices), generator=generator)
    if smooth:
        sdf = torus_sdf(grid.vertices, 0.55, 0.25)
    surfaces, gradients = [], []
    for backend in ("numba", "torch"):
        inputs = [grid.vertices.clone().requires_grad_(), sdf.clone().requires_grad_()]
        mesh = by_backend(inputs[0], grid.tetrahedra, inputs[1], backend)
        weights = torch.randn(len(mesh.faces), 3, 3, generator=torch.Generator().manual_seed(2))
        gradients.append(torch.autograd.grad((mesh.corners() * weights).sum(), inputs))
        surfaces.append(mesh)
    assert torch.equal(surfaces[0].corners(), surfaces[1].corners())
    assert len(surfaces[0].vertices) == len(surfaces[1].vertices)
    for kernels, pytorch in zip(*gradients, strict=True):
        # Sums in another order, of terms that are larger than they: 1 / (a - b) where signs change between near values.
        assert (kernels - pytorch).abs().max() < 1e-5 * kernels.abs().max()


def test_a_field_of_one_sign_has_no_surface(marching_tetrahedra: March) -> None:
    grid = unit_grid(8)
    for value in (1.0, -1.0, 0.0):
        mesh = marching_tetrahedra(grid.vertices, grid.tetrahedra, torch.full((len(grid.vertices),), value))
        assert len(mesh.faces) == len(mesh.vertices) == 0


def test_components_of_each_sign_are_told_apart() -> None:
    grid = unit_grid(24)
    shells = torch.cos(grid.vertices.norm(dim=-1) * 3 * pi)  # inside below 1/6 and from 1/2 to 5/6
    shells = torch.where(grid.boundary, -1.0, shells)
    inside = (shells > 0).numpy()
    part = sign_components(grid.tetrahedra.numpy(), inside)
    radius = grid.vertices.norm(dim=-1).numpy()
    assert len(set(part[inside & (radius < 0.83)])) == 2
    assert len(set(part[~inside & (radius < 0.5)])) == 1
    assert set(part[~inside & (radius < 0.5)]).isdisjoint(part[grid.boundary.numpy()])


@pytest.mark.skipif(HAS_KAOLIN, reason="kaolin is installed")
def test_an_absent_package_is_an_error() -> None:
    grid = unit_grid(6)
    sdf = sphere_sdf(grid.vertices, 0.6)
    with pytest.raises(SetupError, match=r"with kaolin|needs a CUDA device"):
        by_backend(grid.vertices, grid.tetrahedra, sdf, "cuda_packages")


@pytest.mark.skipif(not (torch.cuda.is_available() and HAS_KAOLIN), reason="needs CUDA and kaolin")
def test_kaolins_surface_is_ours() -> None:
    grid = unit_grid(24)
    sdf = torus_sdf(grid.vertices, 0.55, 0.25)
    ours = by_backend(grid.vertices, grid.tetrahedra, sdf)
    on_gpu = grid.to("cuda")
    theirs = by_backend(on_gpu.vertices, on_gpu.tetrahedra, sdf.cuda(), "cuda_packages")
    assert len(theirs.faces) == len(ours.faces)
    assert float(theirs.volume()) == pytest.approx(float(ours.volume()), rel=1e-4)
    assert float(theirs.area()) == pytest.approx(float(ours.area()), rel=1e-4)
