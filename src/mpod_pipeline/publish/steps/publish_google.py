"""Make the GLB that Google Merchant's ``virtual_model_link`` takes of every model, and check it."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import Tools, check, load, make_glb

__all__ = ["Settings", "check", "load", "make"]


class Settings(TargetSettings):
    """Google Merchant Center: at most 15 MB, textures up to 2K."""

    triangles: PositiveInt = 100_000
    megabytes: PositiveFloat | None = 15.0


def make(tools: Tools, given: Given) -> dict[str, Any]:
    return make_glb("google", tools, given)
