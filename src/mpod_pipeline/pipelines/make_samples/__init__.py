"""The sample catalog, from our own generator."""

from mpod_pipeline.pipelines.make_samples.pipeline import create_pipeline

__all__ = ["create_pipeline"]
