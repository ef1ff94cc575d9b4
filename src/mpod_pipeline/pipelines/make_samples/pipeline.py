"""Wiring: nothing but seeds to the sample catalog."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from mpod_pipeline.pipelines.make_samples.nodes import make_samples


def create_pipeline() -> Pipeline:
    names = ("trainer", "mug", "lamp", "products", "ground_truth")
    return Pipeline(
        [node(make_samples, inputs=None, outputs={name: f"sample_{name}" for name in names}, name="make_samples")]
    )
