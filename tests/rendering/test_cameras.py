"""The conventions of cameras.py: handedness, direction of the angles, and that projection and rays agree."""

import pytest
import torch

from mpod_pipeline.rendering.cameras import Cameras


def test_the_basis_is_right_handed_and_orthonormal() -> None:
    _, right, up, forward = Cameras.at([0.0, 50.0, 180.0, 300.0], [0.0, 35.0, -60.0, 80.0]).basis
    assert torch.allclose(torch.linalg.cross(right, up), -forward, atol=1e-6)
    axes = torch.stack([right, up, forward], dim=1)
    assert torch.allclose(axes @ axes.mT, torch.eye(3).expand(4, 3, 3), atol=1e-6)


@pytest.mark.parametrize(
    ("azimuth", "elevation", "position"),
    [(0, 0, (2.5, 0, 0)), (90, 0, (0, 2.5, 0)), (180, 0, (-2.5, 0, 0)), (0, 90, (0, 0, 2.5))],
)
def test_where_a_camera_stands(azimuth: float, elevation: float, position: tuple[float, float, float]) -> None:
    stands, *_ = Cameras.at(azimuth, elevation).basis
    assert torch.allclose(stands[0], torch.tensor(position, dtype=torch.float32), atol=1e-6)


def test_azimuth_grows_to_the_cameras_own_right() -> None:
    cameras = Cameras.at([20.0, 21.0], [15.0, 15.0])
    position, right, *_ = cameras.basis
    assert torch.dot(position[1] - position[0], right[0]) > 0


def test_the_photos_view_has_y_at_the_right_and_z_at_the_top() -> None:
    points = torch.tensor([[0.0, 0.3, 0.0], [0.0, 0.0, 0.3], [0.3, 0.0, 0.0], [-0.3, 0.0, 0.0]])
    on_y, on_z, front, back = Cameras.at(0.0, 0.0).project(points)[0]
    assert on_y[0] > 0.1 and abs(on_y[1]) < 1e-6
    assert on_z[1] > 0.1 and abs(on_z[0]) < 1e-6
    assert front[2] == pytest.approx(2.2) and back[2] == pytest.approx(2.8)


def test_the_frames_edge_is_half_the_field_of_view_away() -> None:
    cameras = Cameras.at(0.0, 0.0, distance=2.0, fov_deg=90.0)
    assert cameras.project(torch.tensor([[0.0, 2.0, -2.0]]))[0, 0].tolist() == pytest.approx([1, -1, 2])


def test_points_on_a_pixels_ray_project_to_its_centre() -> None:
    cameras = Cameras.at([33.0, 250.0], [-20.0, 48.0], distance=1.9, fov_deg=55.0)
    height, width = 5, 7
    origins, directions = cameras.rays(height, width)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(2, height, width), atol=1e-6)
    for view, (row, column) in enumerate([(0, 6), (4, 2)]):
        point = origins[view, row, column] + 1.7 * directions[view, row, column]
        x, y, _ = cameras.project(point[None])[view, 0]
        # float32 keeps about 1e-6 of a coordinate near 1
        assert float(x) == pytest.approx((column + 0.5) / width * 2 - 1, abs=1e-5)
        assert float(y) == pytest.approx(1 - (row + 0.5) / height * 2, abs=1e-5)


def test_depth_is_measured_along_the_view_not_along_the_ray() -> None:
    cameras = Cameras.at(70.0, 10.0)
    origins, directions = cameras.rays(9, 9)
    forward = cameras.basis[3][0]
    depths = cameras.project((origins + directions * 2.0)[0].reshape(-1, 3))[0, :, 2]
    assert torch.allclose(depths, 2.0 * (directions[0] @ forward).reshape(-1), atol=1e-5)


def test_batches_are_indexed_and_iterated_one_camera_at_a_time() -> None:
    cameras = Cameras.at([0.0, 10.0, 20.0], 5.0, distance=3.0)
    assert [float(camera.azimuth_deg) for camera in cameras] == [0.0, 10.0, 20.0]
    assert cameras[-1].azimuth_deg.tolist() == [20.0] and cameras[-1].distance == 3.0
    assert len(cameras[1:]) == 2
