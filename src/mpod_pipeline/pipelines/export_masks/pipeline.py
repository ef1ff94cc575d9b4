"""Wiring: radiance field to masks."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.export_masks.nodes import STAGE, export_masks
from mpod_pipeline.pipelines.wiring import stage_node


def create_pipeline() -> Pipeline:
    inputs = {"outline_fields": "outline_fields", "parameters": "params:masks"}
    return Pipeline([stage_node(export_masks, STAGE, inputs)])
