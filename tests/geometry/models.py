"""Models whose looks are known, and files of them as others write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import trimesh
from torch import Tensor
from trimesh.visual.material import PBRMaterial


def letter(points: Tensor) -> Tensor:
    """A dark F on the front (+x) of a light box of side 1, as one reads it with y to the right and z up."""
    x, y, z = points.unbind(dim=-1)
    stem = (y > -0.25) & (y < -0.1) & (z.abs() < 0.35)
    top = (y > -0.25) & (y < 0.25) & (z > 0.2) & (z < 0.35)
    middle = (y > -0.25) & (y < 0.15) & (z > -0.05) & (z < 0.1)
    dark = (stem | top | middle) & (x > 0.499)
    return torch.where(dark[:, None], 0.1, 0.9).expand(-1, 3)


def strokes(picture: Tensor) -> list[list[int]]:
    """Which of five rows × three columns of the letter's frame are dark."""
    size, half_frame = picture.shape[0], 2.0 * np.tan(np.radians(20))  # at the front's depth of 2.0

    def dark(y: float, z: float) -> int:
        row, column = (1 - z / half_frame) * size / 2, (1 + y / half_frame) * size / 2
        return int(float(picture[int(row), int(column), 0]) < 0.5)

    return [[dark(y, z) for y in (-0.175, 0.02, 0.2)] for z in (0.275, 0.15, 0.025, -0.1, -0.275)]


def plain(colour: list[int], **where: Any) -> trimesh.Trimesh:
    part = trimesh.creation.box([0.4, 0.4, 0.4], **where)
    part.visual = trimesh.visual.TextureVisuals(material=PBRMaterial(baseColorFactor=colour))
    return part


def exported(*parts: trimesh.Trimesh, **moved: np.ndarray) -> bytes:
    scene = trimesh.Scene(list(parts))
    for name, move in moved.items():
        scene.graph.update(list(scene.graph.nodes_geometry)[int(name[1:])], matrix=move)
    data: bytes = scene.export(file_type="glb")
    return data
