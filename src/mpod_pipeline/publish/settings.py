"""Which targets are made, and what a target asks of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, field_validator

from mpod_pipeline.base.parameters import LongSideM, Parameters, SizeParameters
from mpod_pipeline.base.stores import is_address

#: Where npm puts Khronos' validator.
VALIDATOR = Path("node_modules/gltf-validator")


#: See the modules of `publish.steps`.
Target = Literal["web", "shopify", "google", "amazon", "ar_ios", "banner"]


class PublishParameters(Parameters):
    """What is made for shops, of which models, and where it will lie."""

    targets: tuple[Target, ...] = get_args(Target)
    approved_only: bool = Field(False, description="publish no model that nobody has approved on the page")
    base_url: str | None = Field(
        None, description="the address under which the folder `published` will lie, for the feeds; null: no feeds"
    )
    upload_to: str | None = Field(
        None, description="a store's folder, such as s3://BUCKET/FOLDER, to which `published` and the page are sent"
    )

    @field_validator("upload_to")
    @classmethod
    def _is_address(cls, place: str | None) -> str | None:
        if place is not None and not is_address(place):
            raise ValueError("it is no address of a store, such as s3://BUCKET/FOLDER")
        return place


class TargetSettings(SizeParameters):
    """One target's limits. The numbers of a shop are in the module of its step, the product's size in products.csv."""

    triangles: PositiveInt = Field(description="at most; a model with more is simplified")
    texture_size: PositiveInt = Field(2048, description="texels a side, at most; larger textures are made smaller")
    megabytes: PositiveFloat | None = Field(None, description="of the file, at most")
    materials: PositiveInt = Field(1, description="at most")
    gutter_texels: float = Field(2.0, ge=0, description="between islands of the texture, at least")
    too_dark_or_light_percent: float = Field(
        30.0, ge=0, le=100, description="of the surface may be darker or lighter than real things are, at most"
    )
    closed: bool = Field(True, description="whether the surface must be closed")
    dimension_tolerance_percent: PositiveFloat = 5.0
    long_side_m: LongSideM | None = Field(None, description="the product's own, as products.csv says")
    validator: Path = Field(
        VALIDATOR, description="Khronos' validator, a folder of npm; its check is left out where there is none"
    )
