"""The whole pipeline, photos to scored 3D models: the method's steps in a row."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.method.steps import STEPS
from mpod_pipeline.pipelines.steps import step_pipeline


def create_pipeline() -> Pipeline:
    return sum((step_pipeline(step) for step in STEPS), Pipeline([]))
