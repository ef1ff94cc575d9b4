"""Wiring: the shipped priors to a table of scores."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from mpod_pipeline.pipelines.score_priors.nodes import (
    print_scores,
    score_captions,
    score_novel_views,
    score_road,
    score_words,
)


def create_pipeline() -> Pipeline:
    priors = {"novel_view_prior": "novel_view_prior", "text_to_image_prior": "text_to_image_prior"}
    parameters = "params:score_priors"
    return Pipeline(
        [
            node(
                score_novel_views,
                {"novel_view_prior": "novel_view_prior", "parameters": parameters, "models": "models"},
                ["novel_view_scores", "novel_view_samples"],
                name="score_novel_views",
            ),
            node(
                score_captions,
                {"text_to_image_prior": "text_to_image_prior", "parameters": parameters},
                ["caption_scores", "caption_samples"],
                name="score_captions",
            ),
            node(
                score_words,
                {"text_to_image_prior": "text_to_image_prior", "parameters": parameters},
                ["word_scores", "word_samples"],
                name="score_words",
            ),
            node(
                score_road,
                {**priors, "parameters": parameters},
                {"scores": "road_scores", "turntables": "road_turntables"},
                name="score_road",
            ),
            node(
                print_scores,
                {
                    "novel_views": "novel_view_scores",
                    "captions": "caption_scores",
                    "words": "word_scores",
                    "road": "road_scores",
                },
                "prior_scores",
                name="print_scores",
            ),
        ]
    )
