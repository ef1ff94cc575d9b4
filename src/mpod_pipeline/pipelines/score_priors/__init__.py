"""What the priors are worth, on products that they never saw."""

from mpod_pipeline.pipelines.score_priors.pipeline import create_pipeline

__all__ = ["create_pipeline"]
