"""Wiring: seeds to pictures to a network and its errors."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from mpod_pipeline.pipelines.train_elevation.nodes import measure_elevation, train_elevation


def create_pipeline() -> Pipeline:
    return Pipeline(
        [
            node(
                train_elevation,
                {"parameters": "params:train_elevation"},
                ["trained_elevation", "elevation_curve"],
                name="train_elevation",
            ),
            node(
                measure_elevation,
                {"network": "trained_elevation", "parameters": "params:train_elevation"},
                "elevation_scores",
                name="measure_elevation",
            ),
        ]
    )
