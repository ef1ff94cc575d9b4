"""Wiring: radiance field to refined surface."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.refine_detail.nodes import STAGE, refine_detail
from mpod_pipeline.pipelines.wiring import stage_node


def create_pipeline() -> Pipeline:
    inputs = {
        "cutouts": "cutouts",
        "tokens": "tokens",
        "outline_fields": "outline_fields",
        "outline_masks": "outline_masks",
        "text_to_image_prior": "text_to_image_prior",
        "parameters": "params:detail",
        "product_settings": "product_settings",
    }
    return Pipeline([stage_node(refine_detail, STAGE, inputs)])
