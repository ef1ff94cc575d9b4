"""Wiring: seeds to pictures to autoencoder to latents to the two priors; and to depths, to a depth network."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from mpod_pipeline.pipelines.train_priors.nodes import (
    encode_views,
    measure_novel_view,
    measure_text_to_image,
    photograph_depths,
    photograph_products,
    train_autoencoder,
    train_depth,
    train_novel_view,
    train_text_to_image,
)


def create_pipeline() -> Pipeline:
    common = {"parameters": "params:train_priors", "models": "models"}
    return Pipeline(
        [
            node(
                photograph_products, {**common, "made": "prior_views_made"}, "prior_views", name="photograph_products"
            ),
            node(
                train_autoencoder,
                {"views": "prior_views", **common},
                ["autoencoder", "autoencoder_curve"],
                name="train_autoencoder",
            ),
            node(
                encode_views,
                {"views": "prior_views", "autoencoder": "autoencoder", **common},
                "prior_latents",
                name="encode_views",
            ),
            node(photograph_depths, {"parameters": "params:train_priors"}, "depth_views", name="photograph_depths"),
            node(
                train_depth,
                {"views": "depth_views", "parameters": "params:train_priors"},
                ["depth_network", "depth_curve"],
                name="train_depth",
            ),
            node(
                train_text_to_image,
                {"latents": "prior_latents", "autoencoder": "autoencoder", **common},
                ["trained_text_to_image", "text_to_image_curve"],
                name="train_text_to_image",
            ),
            node(
                train_novel_view,
                {
                    "latents": "prior_latents",
                    "autoencoder": "autoencoder",
                    "text_to_image": "trained_text_to_image",
                    "depth_network": "depth_network",
                    **common,
                },
                ["trained_novel_view", "novel_view_curve"],
                name="train_novel_view",
            ),
            node(
                measure_text_to_image,
                {"latents": "prior_latents", "text_to_image": "trained_text_to_image", **common},
                "text_to_image_error_curve",
                name="measure_text_to_image",
            ),
            node(
                measure_novel_view,
                {"latents": "prior_latents", "novel_view": "trained_novel_view", **common},
                "novel_view_error_curve",
                name="measure_novel_view",
            ),
        ]
    )
