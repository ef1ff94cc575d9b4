"""How nodes are put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, node

from mpod_pipeline.batch import BatchStep

#: By argument.
EVERY_STEP_READS = {"batch": "params:batch", "history": "history"}


def batch_node(function: Callable[..., Any], step: BatchStep, inputs: dict[str, str]) -> Node:
    """The node of a step: its own inputs, and what every step reads (`batch`, `history`) and writes.

    Artifacts have the same name in the step and in the catalog; what is written down about a step begins
    with the step's name there.
    """
    names = {name: name if name in step.artifacts else f"{step.name}_{name}" for name in step.outputs}
    return node(function, {**inputs, **EVERY_STEP_READS}, names, name=step.name, tags=[step.name])


def named_node(
    function: Callable[..., Any],
    inputs: str | list[str] | dict[str, str] | None,
    outputs: str | list[str] | dict[str, str],
) -> Node:
    """A node that has its function's name. inputs, outputs: datasets, in the order of the function or by name."""
    return node(function, inputs, outputs, name=function.__name__)
