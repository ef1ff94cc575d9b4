"""How a prior is shown a view: in its colours, lit, without colours, or as normals. So it has a say in the shape."""

from __future__ import annotations

import torch
from pydantic import Field, model_validator
from torch import Tensor
from torch.nn.functional import normalize
from typing_extensions import Self

from mpod_pipeline.base.parameters import Parameters, Share, ShareRange
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.shading import camera_normals, normal_picture

#: How far from the camera the lamp may stand (1 is 45°).
SIDEWAYS = 0.5


class ShadingParameters(Parameters):
    """Shares of the steps in which novel views are shown so; the others show colours alone."""

    lambertian: Share = Field(0.0, description="colours, lit")
    textureless: Share = Field(0.0, description="white, lit")
    colours_first: Share = Field(0.0, description="of all steps, the first, in which colours are shown alone")
    normals_first: Share = Field(0.0, description="of all steps, the first, in which normals are shown as colours")
    ambient: ShareRange = Field((0.4, 0.4), description="share of light from everywhere, drawn between the two")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        if self.lambertian + self.textureless > 1:
            raise ValueError("lambertian and textureless are shares of the same steps: together at most 1")
        return self

    @property
    def wanted(self) -> bool:
        return self.lambertian + self.textureless + self.normals_first > 0


def shown(
    pictures: Tensor,
    opacity: Tensor,
    normals: Tensor,
    cameras: Cameras,
    p: ShadingParameters,
    progress: float,
    generator: torch.Generator,
) -> Tensor:
    """Pictures [B, R, R, 3] on white as a prior is to see them in this step. opacity: [B, R, R]. normals: of the
    surface in the world, unit, [B, R, R, 3].
    """
    drawn = float(torch.rand((), generator=generator))
    if progress < p.normals_first:
        return normal_picture(normals, opacity, cameras)
    if progress < p.colours_first or drawn >= p.lambertian + p.textureless:
        return pictures
    light = lighting(normals, cameras, p, generator)[..., None]
    white = opacity[..., None].expand_as(pictures)
    product = pictures - (1 - opacity[..., None]) if drawn < p.lambertian else white
    return product * light + 1 - opacity[..., None]


def lighting(normals: Tensor, cameras: Cameras, p: ShadingParameters, generator: torch.Generator) -> Tensor:
    """The share of its colour that each pixel keeps in the light of a lamp near the camera, [B, R, R]."""
    towards = torch.tensor([0.0, 0.0, 1.0]) + SIDEWAYS * torch.randn(len(cameras), 3, generator=generator)
    lamp = normalize(towards, dim=-1).to(normals)[:, None, None]
    lit = (camera_normals(normals, cameras) * lamp).sum(dim=-1).clamp_min(0)
    low, high = p.ambient
    ambient = low if low == high else low + (high - low) * float(torch.rand((), generator=generator))
    return ambient + (1 - ambient) * lit
