"""The network that tells how high a photo's camera stood: trained on renders, measured on products kept aside."""

from mpod_pipeline.pipelines.train_elevation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
