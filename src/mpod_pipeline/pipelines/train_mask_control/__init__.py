"""A ControlNet on the mask for the text prior: what the ablation `controlnet` has in place of MRCA."""

from mpod_pipeline.pipelines.train_mask_control.pipeline import create_pipeline

__all__ = ["create_pipeline"]
