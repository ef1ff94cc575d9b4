"""Which views a step of an optimisation looks at (paper section 4.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def drawn_views(reference_probability: float | None, generator: torch.Generator) -> tuple[bool, bool]:
    """Whether a step looks from the photo's view, and from novel views.

    One of them: the photo's with this probability (the paper: 0.25). None: both, in every step.
    """
    if reference_probability is None:
        return True, True
    photo = bool(torch.rand((), generator=generator) < reference_probability)
    return photo, not photo


def is_due(step: int, steps: int, shares: Sequence[float]) -> bool:
    """Whether a step is the first after one of these shares of all steps."""
    return step in [round(share * steps) for share in shares]


def further_of(step: int, photos: int) -> list[int]:
    """Which of a product's photos a step looks at beside the first: the others in turn."""
    return [1 + step % (photos - 1)] if photos > 1 else []
