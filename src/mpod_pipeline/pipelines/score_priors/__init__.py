"""What the priors are worth, on products that they never saw: each part of it a node, then one table of all scores."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.score_priors import nodes
from mpod_pipeline.pipelines.wiring import named_node


def create_pipeline() -> Pipeline:
    novel_view, text, settings = "novel_view_prior", "text_to_image_prior", "params:score_priors"
    made = {"scores": "reconstruction_scores", "turntables": "reconstruction_turntables"}
    tables = ["novel_view_scores", "caption_scores", "word_scores", "reconstruction_scores"]
    return Pipeline(
        [
            named_node(
                nodes.score_novel_views, [novel_view, settings, "models"], ["novel_view_scores", "novel_view_samples"]
            ),
            named_node(nodes.score_captions, [text, settings], ["caption_scores", "caption_samples"]),
            named_node(nodes.score_words, [text, settings], ["word_scores", "word_samples"]),
            named_node(nodes.score_reconstructions, [novel_view, text, settings], made),
            named_node(nodes.print_scores, tables, "prior_scores"),
        ]
    )
