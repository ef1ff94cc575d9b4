"""What the catalog says of a single product in place of a step's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from pydantic import ValidationError

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import Parameters

P = TypeVar("P", bound=Parameters)


def known_to(parameters: Parameters, settings: Mapping[str, str]) -> dict[str, float | str]:
    """The product's settings that the step has parameters for. Numbers are numbers, however they are written."""
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
