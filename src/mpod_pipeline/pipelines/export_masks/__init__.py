"""Radiance field to masks."""

from mpod_pipeline.pipelines.export_masks.pipeline import create_pipeline

__all__ = ["create_pipeline"]
