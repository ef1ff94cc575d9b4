"""The network that tells how high a photo's camera stood: trained on renders, measured on products kept aside."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.train_elevation.nodes import measure_elevation, train_elevation
from mpod_pipeline.pipelines.wiring import named_node


def create_pipeline() -> Pipeline:
    settings = "params:train_elevation"
    return Pipeline(
        [
            named_node(train_elevation, settings, ["trained_elevation", "elevation_curve"]),
            named_node(measure_elevation, ["trained_elevation", settings], "elevation_scores"),
        ]
    )
