"""Make the GLB that Amazon takes of every model, and check it."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveInt

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import Tools, check, load, make_glb

__all__ = ["Settings", "check", "load", "make"]


class Settings(TargetSettings):
    """Amazon's guide to 3D models: at most 200,000 triangles, and the dimensions of the detail page."""

    triangles: PositiveInt = 200_000


def make(tools: Tools, given: Given) -> dict[str, Any]:
    return make_glb("amazon", tools, given)
