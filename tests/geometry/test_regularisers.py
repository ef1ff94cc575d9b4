"""Regularisers against values worked out by hand."""

import pytest
import torch

from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.regularisers import laplacian, mask_loss, normal_consistency
from tests.geometry.shapes import ball, box, plane


def test_a_plane_is_consistent_and_a_cube_is_as_its_right_angles_say() -> None:
    assert float(normal_consistency(plane(4))) == pytest.approx(0, abs=1e-6)
    # of a cube's 18 edges 12 are at right angles (1 - 0) and 6 are diagonals (1 - 1)
    assert float(normal_consistency(box())) == pytest.approx(12 / 18)


def test_the_laplacian_of_a_regular_tetrahedron() -> None:
    """Each vertex is 4/3 of the circumradius away from the mean of the three others."""
    corners = torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    mesh = Mesh(corners, torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]]))
    assert float(laplacian(mesh)) == pytest.approx((4 / 3) ** 2 * 3, rel=1e-6)
    assert float(laplacian(Mesh(corners * 0.5, mesh.faces))) == pytest.approx((4 / 3) ** 2 * 3 / 4, rel=1e-6)


def test_descending_normal_consistency_flattens_a_bump() -> None:
    flat = plane(6)
    height = torch.zeros(len(flat.vertices))
    height[24] = 0.1
    height.requires_grad_()

    def bumpy() -> Mesh:
        return Mesh(flat.vertices + height[:, None] * torch.tensor([0.0, 0.0, 1.0]), flat.faces)

    (gradient,) = torch.autograd.grad(normal_consistency(bumpy()), height)
    assert gradient[24] > 0
    assert gradient.abs().argmax() == 24


def test_gradients_are_finite_on_a_real_mesh() -> None:
    mesh = ball(0.6, 16)
    vertices = mesh.vertices.clone().requires_grad_()
    moving = Mesh(vertices, mesh.faces)
    (normal_consistency(moving) + laplacian(moving)).backward()
    assert vertices.grad is not None and vertices.grad.isfinite().all()


def test_mask_loss_is_the_mean_square_difference() -> None:
    opacity = torch.tensor([[[0.0, 0.5], [1.0, 1.0]]])
    mask = torch.tensor([[[False, True], [True, False]]])
    assert float(mask_loss(opacity, mask)) == pytest.approx((0 + 0.25 + 0 + 1) / 4)
