"""The small priors, from procedural products to folders that the loader reads.

Seeds to pictures to an autoencoder to latents to the two priors; and seeds to depths to a depth network.
"""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.train_priors import nodes
from mpod_pipeline.pipelines.wiring import named_node


def create_pipeline() -> Pipeline:
    settings = "params:train_priors"
    latents, text, novel_view = "prior_latents", "trained_text_to_image", "trained_novel_view"
    learnt = [latents, "autoencoder"]
    more = [settings, "models"]
    return Pipeline(
        [
            named_node(nodes.photograph_products, [settings, "prior_views_made", "models"], "prior_views"),
            named_node(nodes.train_autoencoder, ["prior_views", *more], ["autoencoder", "autoencoder_curve"]),
            named_node(nodes.encode_views, ["prior_views", "autoencoder", *more], latents),
            named_node(nodes.photograph_depths, settings, "depth_views"),
            named_node(nodes.train_depth, ["depth_views", settings], ["depth_network", "depth_curve"]),
            named_node(nodes.train_text_to_image, [*learnt, *more], [text, "text_to_image_curve"]),
            named_node(
                nodes.train_novel_view, [*learnt, text, "depth_network", *more], [novel_view, "novel_view_curve"]
            ),
            named_node(nodes.measure_text_to_image, [latents, text, *more], "text_to_image_error_curve"),
            named_node(nodes.measure_novel_view, [latents, novel_view, *more], "novel_view_error_curve"),
        ]
    )
