"""Make a GLB for the shop's own web page of every model, packed by Draco or meshopt and WebP, and check it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.npm import GLTFPACK, Gltfpack
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import Tools, check_tools, load_tools, make_glb
from mpod_pipeline.publish.variants import for_browsers, for_browsers_by_meshopt

check = check_tools


class Settings(TargetSettings):
    """Khronos' 3D Commerce guidelines, for phones and web pages: 3 MB, 150,000 triangles."""

    triangles: PositiveInt = 150_000
    megabytes: PositiveFloat | None = 3.0
    compress: Literal["draco", "meshopt"] = Field(
        "draco", description="how the geometry is packed; meshopt needs Node.js and gltfpack"
    )
    gltfpack: Path | None = Field(None, description="the package's folder; null: where npm puts it")


@dataclass(frozen=True)
class WebTools(Tools):
    """gltfpack: where the geometry is packed by meshopt."""

    gltfpack: Gltfpack | None


def load(settings: Settings) -> WebTools:
    validator = load_tools(settings).validator
    return WebTools(validator, Gltfpack(settings.gltfpack or GLTFPACK) if settings.compress == "meshopt" else None)


def make(tools: WebTools, given: Given) -> dict[str, Any]:
    if tools.gltfpack is None:
        return make_glb("web", tools, given, packed=for_browsers)
    packed = partial(for_browsers_by_meshopt, gltfpack=tools.gltfpack)
    return make_glb("web", tools, given, packed=packed, unpacked=tools.gltfpack.unpack)
