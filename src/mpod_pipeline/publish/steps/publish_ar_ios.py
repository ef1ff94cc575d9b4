"""Make the USDZ that iPhones show in the room of every model, and check it."""

from __future__ import annotations

from typing import Any

from pydantic import PositiveFloat, PositiveInt

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.target import make_usdz
from mpod_pipeline.publish.usdz import to_usdz


class Settings(TargetSettings):
    """Apple's Quick Look names no limits; those of advertisers who take USDZ: 10 MB, 100,000 triangles."""

    triangles: PositiveInt = 100_000
    megabytes: PositiveFloat | None = 10.0


def load(settings: Settings) -> None:
    """Nothing: OpenUSD is a package of Python."""


def make(models: None, given: Given) -> dict[str, Any]:
    return make_usdz("ar_ios", given, to_usdz)
