"""Wiring: cutout to token."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.learn_tokens.nodes import STAGE, learn_tokens
from mpod_pipeline.pipelines.wiring import stage_node


def create_pipeline() -> Pipeline:
    inputs = {
        "cutouts": "cutouts",
        "text_to_image_prior": "text_to_image_prior",
        "parameters": "params:textual_inversion",
        "product_settings": "product_settings",
    }
    return Pipeline([stage_node(learn_tokens, STAGE, inputs)])
