"""Cutout to radiance field."""

from mpod_pipeline.pipelines.optimize_outline.pipeline import create_pipeline

__all__ = ["create_pipeline"]
