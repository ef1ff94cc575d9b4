"""Make a GLB for the shop's own web page of every model, packed by Draco and WebP, and check it."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import Tools, check, load, make_glb
from mpod_pipeline.publish.variants import for_browsers

__all__ = ["Settings", "check", "load", "make"]


class Settings(TargetSettings):
    """Khronos' 3D Commerce guidelines, for phones and web pages: 3 MB, 150,000 triangles."""

    triangles: PositiveInt = 150_000
    megabytes: PositiveFloat | None = 3.0


def make(tools: Tools, given: Given) -> dict[str, Any]:
    return make_glb("web", tools, given, packed=for_browsers)
