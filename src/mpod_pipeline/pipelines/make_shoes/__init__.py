"""A catalog of shoes to compare methods on, from our own generator: nothing but seeds go in."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.make_samples.nodes import make_shoes
from mpod_pipeline.pipelines.wiring import named_node


def create_pipeline() -> Pipeline:
    return Pipeline([named_node(make_shoes, None, {"photos": "shoe_photos", "ground_truth": "shoe_ground_truth"})])
