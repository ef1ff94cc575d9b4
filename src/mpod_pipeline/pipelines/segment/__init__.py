"""Photo to cutout."""

from mpod_pipeline.pipelines.segment.pipeline import create_pipeline

__all__ = ["create_pipeline"]
