"""DMTet and its start from a density field, which must never be empty without a word."""

from math import pi

import pytest
import torch
from torch import Tensor

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.dmtet import DMTet
from mpod_pipeline.geometry.mesh import check_mesh
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from tests.geometry.shapes import ball, euler_number, sphere_sdf, unit_grid

AXES = torch.tensor([0.7, 0.3, 0.4])
CAMERAS = Cameras.at([0.0, 60.0, 120.0, 200.0, 300.0], [0.0, 0.0, 30.0, -20.0, 10.0])


def ellipsoid(points: Tensor, sharpness: float = 20.0, densest: float = 30.0) -> Tensor:
    return densest * torch.sigmoid((1 - (points / AXES).norm(dim=-1)) * sharpness)


def ellipsoid_masks() -> Tensor:
    unit = ball(0.9, 32)
    vertices = unit.vertices / 0.9 * AXES
    return rasterize(vertices, unit.faces, vertices, CAMERAS, 96).opacity


def test_a_meshs_gradient_reaches_sdf_and_offsets() -> None:
    grid = unit_grid(16)
    shape = DMTet(grid, sphere_sdf(grid.vertices, 0.6))
    mesh = shape.mesh()
    (mesh.volume() + mesh.vertices.square().sum()).backward()
    near = shape.sdf.detach().abs() < 0.5 * grid.cell
    assert shape.sdf.grad is not None and (shape.sdf.grad[near] != 0).any()
    assert (shape.sdf.grad[shape.sdf.detach().abs() > 2 * grid.cell] == 0).all()
    assert shape.offsets.grad is not None and (shape.offsets.grad[near] != 0).any()


def test_offsets_are_bounded_and_never_turn_a_tetrahedron_over() -> None:
    grid = unit_grid(10)
    shape = DMTet(grid, sphere_sdf(grid.vertices, 0.6))
    with torch.no_grad():
        shape.offsets.copy_(100 * torch.randn(shape.offsets.shape, generator=torch.Generator().manual_seed(0)))
    moved = shape.vertices().detach()
    assert float((moved - grid.vertices).abs().max()) == pytest.approx(grid.cell / 4, rel=1e-3)
    assert check_mesh(shape.mesh().detach()).watertight


def test_the_surface_is_closed_even_if_everything_is_inside() -> None:
    grid = unit_grid(12)
    mesh = DMTet(grid, torch.ones(len(grid.vertices))).mesh()
    assert check_mesh(mesh.detach()).watertight
    assert float(mesh.volume().detach()) > 4


def test_a_vanished_surface_is_a_products_failure() -> None:
    grid = unit_grid(8)
    with pytest.raises(ProductError, match="empty"):
        DMTet(grid, -torch.ones(len(grid.vertices))).mesh()


@pytest.mark.parametrize("densest", [3.0, 30.0, 3000.0])
def test_with_masks_the_level_is_where_they_say(densest: float) -> None:
    """A fuzzy field has no surface of its own: the masks tell it, whatever the densities' scale."""
    shape = DMTet.from_density(
        lambda points: ellipsoid(points, 5.0, densest), 1.0, 32, masks=ellipsoid_masks(), cameras=CAMERAS
    )
    mesh = shape.mesh().detach()
    assert float(mesh.volume()) == pytest.approx(4 / 3 * pi * float(AXES.prod()), rel=0.03)
    assert check_mesh(mesh).watertight


def test_without_masks_the_level_agrees_with_the_fields_own_opacity() -> None:
    mesh = DMTet.from_density(lambda points: ellipsoid(points, 400.0, 100.0), 1.0, 32).mesh().detach()
    # opacity 0.5 takes density 100 over 0.007: the sharp border itself, give or take a voxel of 1/32
    assert mesh.vertices.abs().amax(dim=0).tolist() == pytest.approx(AXES.tolist(), abs=1 / 32)


def test_the_grid_fits_the_shape() -> None:
    shape = DMTet.from_density(lambda points: ellipsoid(points - 0.2, 80.0), 1.0, 32)
    low, high = shape.grid_vertices.amin(dim=0), shape.grid_vertices.amax(dim=0)
    # 0.1 of the longest side on each side; up to a voxel (1/32) and a cell more
    slack = 1 / 16 + shape.cell
    assert (low <= 0.2 - AXES).all() and (low >= 0.2 - AXES - 0.14 - slack).all()
    assert (high >= 0.2 + AXES).all() and (high <= 0.2 + AXES + 0.14 + slack).all()


def test_crumbs_are_left_out_and_hollows_filled() -> None:
    def hollow_with_crumbs(points: Tensor) -> Tensor:
        shell = ellipsoid(points, 80.0) * ((points / AXES).norm(dim=-1) > 0.5)
        crumb = (points - torch.tensor([0.3, 0.7, 0.6])).norm(dim=-1) < 0.08
        return shell + 30.0 * crumb

    mesh = DMTet.from_density(hollow_with_crumbs, 1.0, 40).mesh().detach()
    facts = check_mesh(mesh)
    assert (facts.watertight, facts.components, euler_number(mesh)) == (True, 1, 2)


def test_a_handle_stays_a_handle() -> None:
    def ring(points: Tensor) -> Tensor:
        around = points[:, :2].norm(dim=-1) - 0.55
        return 40.0 * (torch.stack([around, points[:, 2]], dim=-1).norm(dim=-1) < 0.2)

    mesh = DMTet.from_density(ring, 1.0, 40).mesh().detach()
    assert check_mesh(mesh).watertight and euler_number(mesh) == 0


def test_the_start_is_a_distance_near_the_surface() -> None:
    shape = DMTet.from_density(lambda points: 30.0 * torch.sigmoid(40 * (0.6 - points.norm(dim=-1))), 1.0, 32)
    surface = shape.mesh().vertices.detach().norm(dim=-1).mean()
    true = surface - shape.grid_vertices.norm(dim=-1)
    near = true.abs() < 2 * shape.cell
    error = (shape.sdf.detach() - true)[near].abs() / shape.cell
    # a facet bulges by cell² / (8 radius), a hundredth of a cell
    assert error.mean() < 0.02 and error.max() < 0.1
    assert shape.sdf.abs().max() <= 3 * shape.cell + 1e-6


@pytest.mark.parametrize(
    ("value", "message"), [(0.0, "not|no part of it is dense enough"), (float("nan"), "not a number")]
)
def test_an_empty_or_broken_field_is_a_products_failure(value: float, message: str) -> None:
    with pytest.raises(ProductError, match=message):
        DMTet.from_density(lambda points: torch.full((len(points),), value), 1.0, 16)


def test_masks_that_nothing_agrees_with_are_a_products_failure() -> None:
    with pytest.raises(ProductError, match="no part of it"):
        DMTet.from_density(ellipsoid, 1.0, 16, masks=torch.zeros(5, 32, 32), cameras=CAMERAS)


def test_a_pinhole_in_a_wall_is_closed_and_a_hole_is_not() -> None:
    """In a plate 0.1 thick; the cells are some 0.04 wide, the hole has this radius."""

    def plate(points: Tensor, hole: float) -> Tensor:
        far = points[:, :2].norm(dim=-1)
        inside = (points.abs() < torch.tensor([0.6, 0.6, 0.05])).all(dim=-1) & (far > hole)
        return 100.0 * inside.float()

    for hole, genus in ((0.025, 0), (0.1, 1)):
        mesh = DMTet.from_density(lambda points, hole=hole: plate(points, hole), 1.0, 24).mesh().detach()
        assert euler_number(mesh) == 2 - 2 * genus
