"""The base of every settings model: immutable, and a misspelt name is an error."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _rising(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError("the first number must not be larger than the second")
    return pair


#: Elevations of cameras, degrees.
ElevationDeg = Annotated[float, Field(ge=-90, le=90)]
#: How high above the product a photo's camera stood.
PhotoElevationDeg = Annotated[float, Field(ge=-30, le=60)]
ElevationRangeDeg = Annotated[tuple[ElevationDeg, ElevationDeg], AfterValidator(_rising)]
#: The longest side of a product, metres.
LongSideM = Annotated[float, Field(gt=0)]
_Share = Annotated[float, Field(ge=0, le=1)]
#: A range of noise levels, fractions of the schedule.
NoiseRange = Annotated[tuple[_Share, _Share], AfterValidator(_rising)]


class Parameters(BaseModel):
    """Typed parameters of one step. Units stand in the names, bounds in the fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults_beside_what_is_set(cls, values: Any) -> Any:
        """A section's default belongs to where it stands: who sets one of its names keeps the others from there, and
        not from the section's own class.
        """
        if not isinstance(values, dict):
            return values
        sections = {
            name: _merge(field.default.model_dump(), values[name])
            for name, field in cls.model_fields.items()
            if isinstance(field.default, Parameters) and isinstance(values.get(name), dict)
        }
        return {**values, **sections}


def _merge(defaults: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """``defaults`` with ``values`` in their places, section by section."""
    merged = dict(defaults)
    for name, value in values.items():
        known = defaults.get(name)
        merged[name] = _merge(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged
