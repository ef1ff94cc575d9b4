"""Wiring: cutout to radiance field."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.optimize_outline.nodes import STAGE, optimize_outline
from mpod_pipeline.pipelines.wiring import stage_node


def create_pipeline() -> Pipeline:
    inputs = {
        "cutouts": "cutouts",
        "novel_view_prior": "novel_view_prior",
        "parameters": "params:outline",
        "product_settings": "product_settings",
    }
    return Pipeline([stage_node(optimize_outline, STAGE, inputs)])
