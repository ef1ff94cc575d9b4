"""A catalog of shoes to compare methods on, from our own generator."""

from mpod_pipeline.pipelines.make_shoes.pipeline import create_pipeline

__all__ = ["create_pipeline"]
