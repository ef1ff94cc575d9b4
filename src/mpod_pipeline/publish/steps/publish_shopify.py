"""Make the GLB that Shopify takes of every model, and check it."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import Tools, check, load, make_glb

__all__ = ["Settings", "check", "load", "make"]


class Settings(TargetSettings):
    """Shopify's checklist for 3D models: one material, at most 15 MB (of larger ones it makes smaller ones itself)."""

    triangles: PositiveInt = 100_000
    megabytes: PositiveFloat | None = 15.0


def make(tools: Tools, given: Given) -> dict[str, Any]:
    return make_glb("shopify", tools, given)
