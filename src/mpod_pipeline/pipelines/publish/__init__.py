"""From models to shops: each target's files, what the gate says of them, feeds, and the page to approve them on."""

from mpod_pipeline.pipelines.publish.pipeline import create_pipeline

__all__ = ["create_pipeline"]
