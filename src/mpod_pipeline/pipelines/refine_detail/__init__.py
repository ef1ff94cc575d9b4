"""Radiance field to refined surface."""

from mpod_pipeline.pipelines.refine_detail.pipeline import create_pipeline

__all__ = ["create_pipeline"]
