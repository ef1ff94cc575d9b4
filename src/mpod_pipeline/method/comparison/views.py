"""What a method's model looks like from fixed cameras: all that it is scored by, be it a field or a mesh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.parameters import ElevationDeg, Parameters
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.fields.point_cloud import PointCloud
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.evaluation import draw_field, surface_points
from mpod_pipeline.rendering.cameras import Cameras


class DrawingParameters(Parameters):
    """The fixed views, as in `EvaluationParameters`. Angles in degrees."""

    of: Literal["mesh", "field", "points"] = Field(
        "mesh", description="what is drawn; the surface's points are the mesh's"
    )
    azimuths: int = Field(12, ge=2)
    elevation_deg: ElevationDeg = 15.0
    resolution: PositiveInt = 128
    surface_points: PositiveInt = 10_000


@dataclass(frozen=True)
class ModelViews:
    """Views of one model on white. The first is from the photo's camera, the others from all round."""

    pictures: NDArray[np.uint8]  # [1 + N, R, R, 3]
    opacity: NDArray[np.uint8]  # [1 + N, R, R], 255 is opaque
    azimuth_deg: NDArray[np.float32]  # [1 + N]
    elevation_deg: NDArray[np.float32]  # [1 + N]
    points: NDArray[np.float32]  # [P, 3] spread over the surface, world units

    @property
    def cameras(self) -> Cameras:
        return Cameras.at(torch.from_numpy(self.azimuth_deg), torch.from_numpy(self.elevation_deg))

    def tensors(self) -> tuple[Tensor, Tensor]:
        """Pictures [1 + N, R, R, 3] and opacity [1 + N, R, R] in [0, 1]."""
        return torch.from_numpy(self.pictures) / 255, torch.from_numpy(self.opacity) / 255


def draw_views(
    photos: Cutouts, field: OutlineField, mesh: TexturedMesh, points: PointCloud | None, p: DrawingParameters
) -> ModelViews:
    """points: of a method that has some.

    Raises ProductError where some view shows nothing: white pictures are alike, and would pass for consistent.
    """
    azimuths = torch.arange(p.azimuths).float() * 360 / p.azimuths
    cameras = Cameras.joined([photos.front.camera, Cameras.at(azimuths, p.elevation_deg)])
    drawn = _drawn(field, mesh, points, cameras, p)
    if not (drawn[1] >= 0.5).flatten(1).any(dim=1).all():
        raise ProductError("The model is not to be seen from some side.")
    pictures, opacity = ((each.clamp(0, 1) * 255).round().byte().numpy() for each in drawn)
    directions = cameras.azimuth_deg.numpy(), cameras.elevation_deg.numpy()
    return ModelViews(pictures, opacity, *directions, surface_points(mesh, p.surface_points).astype(np.float32))


def _drawn(
    field: OutlineField, mesh: TexturedMesh, points: PointCloud | None, cameras: Cameras, p: DrawingParameters
) -> tuple[Tensor, Tensor]:
    """Pictures on white [B, R, R, 3] and opacities [B, R, R]."""
    if p.of == "field":
        return draw_field(field, cameras, p.resolution)
    if p.of == "mesh":
        return draw(mesh, cameras, p.resolution)[:2]
    if points is None:
        raise SetupError("drawing.of is 'points', but stage 2 made none: set detail.second_stage to 'points', too.")
    return points.seen_by(cameras, p.resolution)
