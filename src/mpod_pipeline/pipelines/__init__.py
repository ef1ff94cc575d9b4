"""Kedro's floor: one folder a pipeline."""

#: The stages on the road from a photo to a scored model, in order. Each is a pipeline of its own, too.
STAGES = (
    "segment",
    "learn_tokens",
    "optimize_outline",
    "export_masks",
    "refine_detail",
    "export_models",
    "evaluate",
)
