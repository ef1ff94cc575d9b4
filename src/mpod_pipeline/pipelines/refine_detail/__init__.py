"""Radiance field to textured mesh."""

from mpod_pipeline.pipelines.refine_detail.pipeline import create_pipeline

__all__ = ["create_pipeline"]
