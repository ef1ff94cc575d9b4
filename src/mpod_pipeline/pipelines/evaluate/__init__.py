"""Mesh to scores and pictures."""

from mpod_pipeline.pipelines.evaluate.pipeline import create_pipeline

__all__ = ["create_pipeline"]
