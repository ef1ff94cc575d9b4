"""Wiring: stage 2's surface to GLB."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.export_models.nodes import STAGE, export_models
from mpod_pipeline.pipelines.wiring import stage_node


def create_pipeline() -> Pipeline:
    inputs = {
        "detail_models": "detail_models",
        "cutouts": "cutouts",
        "parameters": "params:export",
        "product_settings": "product_settings",
    }
    return Pipeline([stage_node(export_models, STAGE, inputs)])
