"""Make a small GLB of every model for banners, and check it."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import Tools, check, load, make_glb

__all__ = ["Settings", "check", "load", "make"]


class Settings(TargetSettings):
    """Khronos' 3D Commerce guidelines, for advertisements: 0.5 MB, 30,000 triangles, textures of 512."""

    triangles: PositiveInt = 12_000  # for which 0.5 MB have room
    texture_size: PositiveInt = 512
    megabytes: PositiveFloat | None = 0.5


def make(tools: Tools, given: Given) -> dict[str, Any]:
    return make_glb("banner", tools, given)
