"""Which views a step of an optimisation looks at (paper section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from pydantic import Field, PositiveInt, model_validator
from typing_extensions import Self

from mpod_pipeline.base.parameters import Parameters, Share


class ViewParameters(Parameters):
    """When the photo's view is looked at, and when novel ones are; by default both, in every step."""

    reference_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        description="draw the photo's view with this probability, else novel ones (paper: 0.25); null: both each step",
    )
    photo_every: PositiveInt | None = Field(
        None, description="the photo's view alone in every so-manieth step, else novel ones (Magic123: 4)"
    )
    photo_first: Share = Field(0.0, description="of all steps, the first, which look at the photo's view alone")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if self.photo_every is not None and self.reference_probability is not None:
            raise ValueError("reference_probability and photo_every are two rules for one thing: set one of them")
        return self

    @property
    def novel_share(self) -> float:
        """The share of steps that look at novel views, in the mean."""
        rest = 1 - self.photo_first
        if self.photo_every is not None:
            return rest * (1 - 1 / self.photo_every)
        return rest if self.reference_probability is None else rest * (1 - self.reference_probability)


def drawn_views(p: ViewParameters, step: int, steps: int, generator: torch.Generator) -> tuple[bool, bool]:
    """Whether a step looks from the photo's view, and from novel views."""
    if step < round(p.photo_first * steps):
        return True, False
    if p.photo_every is not None:
        photo = step % p.photo_every == 0
        return photo, not photo
    if p.reference_probability is None:
        return True, True
    photo = bool(torch.rand((), generator=generator) < p.reference_probability)
    return photo, not photo


def is_due(step: int, steps: int, shares: Sequence[float]) -> bool:
    """Whether a step is the first after one of these shares of all steps."""
    return step in [round(share * steps) for share in shares]


def further_of(step: int, photos: int) -> list[int]:
    """Which of a product's photos a step looks at beside the first: the others in turn."""
    return [1 + step % (photos - 1)] if photos > 1 else []
