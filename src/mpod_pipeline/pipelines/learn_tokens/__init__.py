"""Cutout to token."""

from mpod_pipeline.pipelines.learn_tokens.pipeline import create_pipeline

__all__ = ["create_pipeline"]
