"""Field to opacity images and masks (paper, Eq. 3-5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.datasets import History, Partitions
from mpod_pipeline.method import masks
from mpod_pipeline.method.masks import MaskParameters

STAGE = Stage(
    "export_masks", artifacts=("outline_masks",), code_version=1, made_by={"field": "optimize_outline"}
)


def export_masks(
    outline_fields: Partitions, parameters: MaskParameters, batch: BatchParameters, history: History
) -> Iterator[dict[str, Any]]:
    """Render every outline's opacity and mask from a fixed set of cameras."""
    yield from run_stage(
        STAGE,
        partial(_mask_exporter, parameters),
        inputs={"field": outline_fields},
        parameters=parameters,
        batch=batch,
        history=history,
    )


def _mask_exporter(parameters: MaskParameters) -> Work:
    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        return {"outline_masks": asdict(masks.export_masks(inputs["field"], parameters))}

    return work
