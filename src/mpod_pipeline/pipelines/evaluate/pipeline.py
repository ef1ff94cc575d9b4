"""Wiring: mesh to scores and pictures."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.evaluate.nodes import STAGE, evaluate
from mpod_pipeline.pipelines.wiring import stage_node


def create_pipeline() -> Pipeline:
    inputs = {
        "meshes": "meshes",
        "cutouts": "cutouts",
        "cutout_checks": "cutout_checks",
        "word_checks": "word_checks",
        "outline_fields": "outline_fields",
        "ground_truth": "ground_truth",
        "parameters": "params:evaluation",
        "product_settings": "product_settings",
    }
    return Pipeline([stage_node(evaluate, STAGE, inputs, scores="scores")])
