"""Make the USDZ that iPhones show in the room of every model, and check it."""

from __future__ import annotations

from functools import partial

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import make_usdz

make = partial(make_usdz, "ar_ios")


class Settings(TargetSettings):
    """Apple's Quick Look names no limits; those of advertisers who take USDZ: 10 MB, 100,000 triangles."""

    triangles: PositiveInt = 100_000
    megabytes: PositiveFloat | None = 10.0
