"""Make the GLB that Amazon takes of every model, and check it."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveInt

from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import check_tools, load_tools, make_glb

load = load_tools
check = check_tools
make = partial(make_glb, "amazon")


class Settings(TargetSettings):
    """Amazon's guide to 3D models: at most 200,000 triangles, and the dimensions of the detail page."""

    triangles: PositiveInt = 200_000
