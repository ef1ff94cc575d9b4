"""Which methods are compared, and on what."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt, field_validator

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.method.comparison.methods import METHODS


class CompareParameters(Parameters):
    """settings: of every method, by section, over its preset: what shall be the same for all."""

    methods: tuple[str, ...] = Field(METHODS, min_length=1)
    settings: dict[str, Any] = Field(default_factory=dict)
    resamples: PositiveInt = Field(2000, description="of the products, for intervals of differences")

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in methods if name not in METHODS]:
            raise ValueError(f"there is no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
        return tuple(name for name in METHODS if name in methods)
