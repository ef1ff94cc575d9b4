"""Wiring: nothing but seeds to the shoe catalog."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from mpod_pipeline.pipelines.make_samples.nodes import make_shoes


def create_pipeline() -> Pipeline:
    outputs = {"photos": "shoe_photos", "ground_truth": "shoe_ground_truth"}
    return Pipeline([node(make_shoes, inputs=None, outputs=outputs, name="make_shoes")])
