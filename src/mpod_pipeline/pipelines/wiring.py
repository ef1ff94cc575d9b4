"""What the nodes of all stages have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kedro.pipeline import Node, node

from mpod_pipeline.batch import Stage

#: By argument.
EVERY_STAGE_READS = {"batch": "params:batch", "history": "history"}


def stage_node(function: Callable[..., Any], stage: Stage, inputs: dict[str, str], **outputs: str) -> Node:
    """The node of a stage: its own inputs, and what every stage reads (`batch`, `history`) and writes.

    Artifacts have the same name in the stage and in the catalog; what is written down about a stage begins
    with the stage's name there. ``outputs``: those beyond `Stage.outputs`.
    """
    written_down = [name for name in stage.outputs if name not in stage.artifacts]
    return node(
        function,
        inputs={**inputs, **EVERY_STAGE_READS},
        outputs={
            **{name: name for name in stage.artifacts},
            **{name: f"{stage.name}_{name}" for name in written_down},
            **outputs,
        },
        name=stage.name,
        tags=[stage.name],
    )
