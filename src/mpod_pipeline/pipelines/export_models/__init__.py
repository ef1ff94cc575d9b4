"""Stage 2's surface to GLB."""

from mpod_pipeline.pipelines.export_models.pipeline import create_pipeline

__all__ = ["create_pipeline"]
