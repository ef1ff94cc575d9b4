"""Pictures of a shape without its texture."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.rendering.cameras import Cameras

#: A background in [0, 1] on which white products are seen: they are as common as white paper.
LIGHT_GREY = 0.85


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
