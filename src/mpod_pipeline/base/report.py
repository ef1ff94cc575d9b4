"""How an optimisation tells of its progress."""

from collections.abc import Callable

#: Called after each step with (step, total steps, losses).
Report = Callable[[int, int, dict[str, float]], None]


def no_report(step: int, steps: int, losses: dict[str, float]) -> None:
    """Where nobody looks."""
