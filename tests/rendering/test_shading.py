"""Pictures of normals."""

import pytest
import torch

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.shading import camera_normals, normal_picture


@pytest.mark.parametrize(("azimuth", "elevation"), [(0.0, 0.0), (130.0, 40.0)])
def test_a_normal_towards_the_camera_is_its_third_axis(azimuth: float, elevation: float) -> None:
    cameras = Cameras.at(azimuth, elevation)
    position, right, up, _ = cameras.basis
    normals = torch.stack([position[0] / cameras.distance, right[0], up[0]])[None, None]
    expected = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    assert torch.allclose(camera_normals(normals, cameras)[0, 0], expected, atol=1e-6)


def test_the_usual_colours_of_normals() -> None:
    cameras = Cameras.at(0.0, 0.0)
    normals = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])[None, None]
    opacity = torch.tensor([[[1.0, 1, 0.5, 0]]])
    picture = normal_picture(normals, opacity, cameras)[0, 0]
    # the front is blue, the right red, the top green, half of it on white; then the background
    expected = torch.tensor([[0.5, 0.5, 1], [1, 0.5, 0.5], [0.75, 1, 0.75], [1, 1, 1]])
    assert torch.allclose(picture, expected, atol=1e-6)
