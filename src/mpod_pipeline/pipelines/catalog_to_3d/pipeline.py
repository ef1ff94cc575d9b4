"""Wiring: the stages in a row."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines import (
    evaluate,
    export_masks,
    learn_tokens,
    optimize_outline,
    refine_detail,
    segment,
)

STAGES = (segment, learn_tokens, optimize_outline, export_masks, refine_detail, evaluate)


def create_pipeline() -> Pipeline:
    return sum((stage.create_pipeline() for stage in STAGES), Pipeline([]))
