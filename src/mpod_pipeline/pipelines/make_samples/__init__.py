"""The sample catalog, from our own generator: nothing but seeds go in."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.make_samples.nodes import make_samples
from mpod_pipeline.pipelines.wiring import named_node


def create_pipeline() -> Pipeline:
    names = ("trainer", "mug", "lamp", "products", "ground_truth")
    return Pipeline([named_node(make_samples, None, {name: f"sample_{name}" for name in names})])
