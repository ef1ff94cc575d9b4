"""Wiring: photo to cutout."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.segment.nodes import STAGE, segment
from mpod_pipeline.pipelines.wiring import stage_node


def create_pipeline() -> Pipeline:
    inputs = {"photos": "photos", "parameters": "params:segmentation"}
    return Pipeline([stage_node(segment, STAGE, inputs)])
