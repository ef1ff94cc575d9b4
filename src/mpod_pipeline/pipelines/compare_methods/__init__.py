"""The paper's table: every method on every photo, scored by what its models look like."""

from mpod_pipeline.pipelines.compare_methods.pipeline import create_pipeline

__all__ = ["create_pipeline"]
