"""Light on normals: pictures of a shape without a texture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from mpod_pipeline.rendering.cameras import Cameras

#: A small studio in the camera's frame (right, up, towards the camera): (direction, strength).
KEY = ((0.5, 0.7, 0.6), 0.65)
FILL = ((-0.8, 0.2, 0.5), 0.25)
AMBIENT = 0.15


def camera_normals(normals: Tensor, cameras: Cameras) -> Tensor:
    """World normals [B, H, W, 3] in the cameras' frames: right, up, towards the camera."""
    _, right, up, forward = cameras.basis
    return torch.einsum("bhwc,bkc->bhwk", normals, torch.stack([right, up, -forward], dim=1))


def normal_picture(normals: Tensor, opacity: Tensor, cameras: Cameras, background: float = 1.0) -> Tensor:
    """The usual colours of normals, (n + 1) / 2 in the cameras' frames: [B, H, W, 3] in [0, 1].

    normals: unit world normals [B, H, W, 3]. opacity: [B, H, W].
    """
    colours = (camera_normals(normals, cameras) + 1) / 2
    return opacity[..., None] * colours + (1 - opacity[..., None]) * background


def studio(normals: Tensor, opacity: Tensor, cameras: Cameras, background: float = 1.0) -> Tensor:
    """Grey clay under a soft key light, a fill light and ambient light: [B, H, W, 3] in [0, 1].

    The lights stand with the camera. They wrap round the shape (half Lambert), so that no side is black.
    normals: unit world normals [B, H, W, 3]. opacity: [B, H, W].
    """
    local = camera_normals(normals, cameras)
    brightness = torch.full_like(opacity, AMBIENT)
    for direction, strength in (KEY, FILL):
        towards = normalize(local.new_tensor(direction), dim=0)
        brightness = brightness + strength * ((local @ towards + 1) / 2).square()
    picture = opacity * brightness.clamp(max=1) + (1 - opacity) * background
    return picture[..., None].expand(*picture.shape, 3)
