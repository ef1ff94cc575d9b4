"""What keeps an optimised mesh smooth and even. All are scalars, 0 for a flat mesh of even triangles."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.geometry.mesh import Mesh, neighbour_means


def normal_consistency(mesh: Mesh) -> Tensor:
    """Mean over all inner edges of 1 - cos of the angle between the normals of its two faces."""
    normals = mesh.face_normals()
    pairs = mesh.topology.adjacent_faces
    return (1 - (normals[pairs[:, 0]] * normals[pairs[:, 1]]).sum(dim=-1)).mean()


def laplacian(mesh: Mesh) -> Tensor:
    """Mean squared distance of the vertices from their neighbours' mean (uniform Laplacian), world units²."""
    means = neighbour_means(mesh.vertices, mesh.topology.edges)
    return (mesh.vertices - means).square().sum(dim=-1).mean()


def mask_loss(opacity: Tensor, mask: Tensor) -> Tensor:
    """Mean squared difference of rendered opacity and mask, both [B, H, W] in [0, 1] (Eq. 9, per pixel)."""
    return torch.nn.functional.mse_loss(opacity, mask.to(opacity.dtype))
