"""A ControlNet on the mask for the text prior: what the ablation `controlnet` has in place of MRCA."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.train_mask_control.nodes import measure_mask_control, train_mask_control
from mpod_pipeline.pipelines.wiring import named_node


def create_pipeline() -> Pipeline:
    given = ["text_to_image_prior", "params:train_mask_control"]
    return Pipeline(
        [
            named_node(train_mask_control, given, ["mask_control", "mask_control_curve"]),
            named_node(measure_mask_control, ["mask_control", *given], "mask_control_scores"),
        ]
    )
