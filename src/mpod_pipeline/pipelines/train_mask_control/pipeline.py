"""Wiring: seeds and the text prior to a ControlNet and its errors."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from mpod_pipeline.pipelines.train_mask_control.nodes import measure_mask_control, train_mask_control


def create_pipeline() -> Pipeline:
    common = {"text_to_image_prior": "text_to_image_prior", "parameters": "params:train_mask_control"}
    return Pipeline(
        [
            node(train_mask_control, common, ["mask_control", "mask_control_curve"], name="train_mask_control"),
            node(
                measure_mask_control,
                {"mask_control": "mask_control", **common},
                "mask_control_scores",
                name="measure_mask_control",
            ),
        ]
    )
