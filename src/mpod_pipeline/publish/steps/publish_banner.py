"""Make a small GLB of every model for banners, and check it."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import check_tools, load_tools, make_glb

load = load_tools
check = check_tools
make = partial(make_glb, "banner")


class Settings(TargetSettings):
    """Khronos' 3D Commerce guidelines, for advertisements: 0.5 MB, 30,000 triangles, textures of 512."""

    triangles: PositiveInt = 12_000  # for which 0.5 MB have room
    texture_size: PositiveInt = 512
    megabytes: PositiveFloat | None = 0.5
