"""Splatted points: against the definition by brute force, and what hides what."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.points import LEAST_RADIUS, NEAREST, splat

FRONT, BACK = Cameras.at(0.0, 0.0), Cameras.at(180.0, 0.0)


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def plane(x: float, resolution: int, per_pixel: int = 1) -> Tensor:
    """Points [N, 3] on a plane that faces the front camera, under its pixels' centres, over its whole frame."""
    size = per_pixel * resolution
    origins, directions = (rays[0].reshape(-1, 3) for rays in FRONT.rays(size, size))
    return origins + directions * ((x - origins[:, :1]) / directions[:, :1])


def dense_weights(points: Tensor, cameras: Cameras, resolution: int) -> Tensor:
    """What each pixel shows of each point, [R * R, N], by the definition; of one surface without a pinhole."""
    x, y, depth = cameras.project(points)[0].unbind(dim=-1)
    weights = torch.zeros(resolution * resolution, len(points))
    for pixel in range(len(weights)):
        row, column = divmod(pixel, resolution)
        down, across = (1 - y) * resolution / 2 - row - 0.5, (1 + x) * resolution / 2 - column - 0.5
        apart = (down.square() + across.square()) / LEAST_RADIUS**2
        left = 1.0
        for point in [n for n in depth.argsort().tolist() if apart[n] < 1][:NEAREST]:
            alpha = 1 - float((0.1 * apart[point]).clamp(1e-3, 1).sqrt())
            weights[pixel, point], left = left * alpha, left * (1 - alpha)
    return weights


def test_a_picture_is_what_its_points_are_splatted_to() -> None:
    picture = torch.rand(24, 24, 3, generator=seed())
    seen = splat(plane(0.3, 24), FRONT, 24)
    again = seen.of(picture.view(-1, 3))[0] / seen.opacity[0, ..., None]
    assert seen.covered.all()
    torch.testing.assert_close(again, picture, atol=1e-4, rtol=0)
    torch.testing.assert_close(seen.depth, torch.full((1, 24, 24), 2.2), atol=1e-4, rtol=0)


def test_values_and_gradients_are_those_of_a_dense_matrix() -> None:
    points = (torch.rand(400, 3, generator=seed()) - 0.5) * torch.tensor([0.02, 0.5, 0.5])
    values = torch.rand(400, 5, generator=seed()).requires_grad_()
    wanted = torch.rand(12 * 12, 5, generator=seed())
    dense = dense_weights(points, FRONT, 12)
    seen = splat(points, FRONT, 12).of(values)[0].view(-1, 5)
    torch.testing.assert_close(seen, dense @ values)
    (gradient,) = torch.autograd.grad((seen * wanted).sum(), values)
    torch.testing.assert_close(gradient, dense.T @ wanted)


def test_what_lies_behind_is_hidden_also_where_points_are_missing() -> None:
    near, far = plane(0.2, 24), plane(-0.2, 24, 2)
    near = near[torch.rand(len(near), generator=seed()) > 0.05]
    of_near = torch.arange(len(near) + len(far)) < len(near)
    values = torch.stack([of_near, ~of_near], dim=1).float()
    points = torch.cat([near, far])
    inner = slice(2, -2)
    front = splat(points, FRONT, 24).of(values)[0, inner, inner]
    assert float(front[..., 0].mean()) > 0.9 and float(front[..., 1].max()) == 0
    back = splat(points, BACK, 24).of(values)[0, inner, inner]
    assert float(back[..., 1].min()) > 0.5 and float(back[..., 0].max()) == 0


def test_only_what_is_before_the_camera_and_in_the_frame_is_seen() -> None:
    points = torch.tensor([[0.0, 0.0, 0.0], [9.0, 2.0, 0.0], [0.0, 5.0, 0.0], [0.0, 0.0, -5.0]])
    seen = splat(points, Cameras.at([0.0, 180.0], 0.0), 9)
    one = seen.of(torch.eye(4))
    assert one[0, 4, 4].tolist()[0] > 0.9 and float(one[0, ..., 1:].abs().max()) == 0
    assert seen.covered[0].sum() == 1
    assert float(one[1, ..., 1].max()) > 0  # from behind, that one is before the camera
