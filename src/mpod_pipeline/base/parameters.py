"""The base of every settings model: immutable, and a misspelt name is an error. And a product's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from mpod_pipeline.base.errors import ProductError


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first number must not be larger than the second")
    return pair


def _elevation(told: float | str) -> float | str:
    if told == "auto" or (not isinstance(told, str) and -30 <= told <= 60):
        return told
    raise ValueError("should be a number of degrees from -30 to 60, or auto")


#: Elevations of cameras, degrees.
ElevationDeg = Annotated[float, Field(ge=-90, le=90)]
#: How high above the product a photo's camera stood; or it is found in the photo.
PhotoElevationDeg = Annotated[float | str, AfterValidator(_elevation)]
ElevationRangeDeg = Annotated[tuple[ElevationDeg, ElevationDeg], AfterValidator(_rising)]
#: The longest side of a product, metres.
LongSideM = Annotated[float, Field(gt=0)]
SizeCm = Annotated[float, Field(gt=0)]
#: What mirrors or turns a product into itself: vertical planes through its middle, or its vertical axis.
Symmetry = Literal["none", "left_right", "front_back", "both", "revolution"]
#: A part of a whole, a measure without a unit.
Share = Annotated[float, Field(ge=0, le=1)]
ShareRange = Annotated[tuple[Share, Share], AfterValidator(_rising)]
#: A range of noise levels, fractions of the schedule.
NoiseRange = ShareRange


class Parameters(BaseModel):
    """Typed parameters of one step. Units stand in the names, bounds in the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults_beside_what_is_set(cls, values: Any) -> Any:
        """Keep the other defaults of a section when one of its names is set.

        They are the defaults of the field that holds the section, not those of the section's own class.
        """
        if not isinstance(values, dict):
            return values
        sections = {
            name: merged(field.default.model_dump(), values[name])
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Parameters) and isinstance(values.get(name), dict)
        }
        return {**values, **sections}


def merged(*layers: Any) -> Any:
    """Mappings, each over those before it, name by name; None is no layer.

    A layer that is no mapping is the result: the check of settings says what is wrong with it.
    """
    result: dict[str, Any] = {}
    for layer in layers:
        if layer is not None and not isinstance(layer, Mapping):
            return layer
        for name, value in (layer or {}).items():
            both = isinstance(value, Mapping) and isinstance(result.get(name), Mapping)
            result[name] = merged(result[name], value) if both else value
    return result


class SizeParameters(Parameters):
    """The product as its front shows it: width from left to right, depth from front to back. Centimetres."""

    width_cm: SizeCm | None = None
    height_cm: SizeCm | None = None
    depth_cm: SizeCm | None = None

    @property
    def told_cm(self) -> tuple[float | None, float | None, float | None]:
        """In the order of the world's axes: depth (x), width (y), height (z)."""
        return self.depth_cm, self.width_cm, self.height_cm

    @property
    def wanted_depth(self) -> tuple[int, float] | None:
        """How deep the product is, as a factor of its extent along another of the world's axes; None if not told."""
        for axis, of_front in ((1, self.width_cm), (2, self.height_cm)):
            if self.depth_cm and of_front:
                return axis, self.depth_cm / of_front
        return None


P = TypeVar("P", bound=Parameters)


def known_to(parameters: Parameters, settings: Mapping[str, str]) -> dict[str, float | str]:
    """What the catalog says of a product, of what the step has parameters for. Numbers are numbers, however written."""
    fields = type(parameters).model_fields
    return {
        name: text if fields[name].annotation is str else _number(text)
        for name, text in settings.items()
        if name in fields
    }


def with_own(parameters: P, own: Mapping[str, float | str]) -> P:
    """The parameters with a product's own in their places. Raises ProductError where one cannot be."""
    try:
        return type(parameters).model_validate({**parameters.model_dump(), **own})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else ""
        said, hint = own.get(name), ""
        reason = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        if isinstance(said, str) and isinstance(_number(said.replace(",", ".")), float):
            hint = f"; write {said.replace(',', '.')}, with a point"
        raise ProductError(f"The catalog's table says {said!r} in the column {name}: {reason}{hint}.") from error


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
