"""Make the GLB that Google Merchant's ``virtual_model_link`` takes of every model, and check it."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import check_tools, load_tools, make_glb

load = load_tools
check = check_tools
make = partial(make_glb, "google")


class Settings(TargetSettings):
    """Google Merchant Center: at most 15 MB, textures up to 2K."""

    triangles: PositiveInt = 100_000
    megabytes: PositiveFloat | None = 15.0
