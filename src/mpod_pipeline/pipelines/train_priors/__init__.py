"""The small priors, from procedural products to folders that the loader reads."""

from mpod_pipeline.pipelines.train_priors.pipeline import create_pipeline

__all__ = ["create_pipeline"]
