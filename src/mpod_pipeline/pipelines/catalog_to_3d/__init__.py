"""The whole pipeline: photos to scored 3D models."""

from mpod_pipeline.pipelines.catalog_to_3d.pipeline import create_pipeline

__all__ = ["create_pipeline"]
