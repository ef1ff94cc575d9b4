"""Wiring: the stages in a row."""

from __future__ import annotations

from importlib import import_module

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines import STAGES


def create_pipeline() -> Pipeline:
    stages = (import_module(f"mpod_pipeline.pipelines.{stage}") for stage in STAGES)
    return sum((stage.create_pipeline() for stage in stages), Pipeline([]))
