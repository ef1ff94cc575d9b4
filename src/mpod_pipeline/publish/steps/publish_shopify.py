"""Make the GLB that Shopify takes of every model, and check it."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import check_tools, load_tools, make_glb

load = load_tools
check = check_tools
make = partial(make_glb, "shopify")


class Settings(TargetSettings):
    """Shopify's checklist for 3D models: one material, at most 15 MB (of larger ones it makes smaller ones itself)."""

    triangles: PositiveInt = 100_000
    megabytes: PositiveFloat | None = 15.0
