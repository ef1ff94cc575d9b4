"""Cutout to token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.datasets import History, Partitions, Weights
from mpod_pipeline.method.textual_inversion import TextualInversionParameters, learn_token
from mpod_pipeline.method.words import WordDrawer
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.priors import load_text_to_image_prior

STAGE = Stage(
    "learn_tokens",
    artifacts=("tokens", "word_checks", "words"),
    code_version=3,
    made_by={"cutout": "segment"},
)


def learn_tokens(
    cutouts: Partitions,
    text_to_image_prior: Weights,
    parameters: TextualInversionParameters,
    product_settings: dict[str, dict[str, str]],
    batch: BatchParameters,
    history: History,
) -> Iterator[dict[str, Any]]:
    """Learn a word for every product (textual inversion), and look at what it draws."""
    yield from run_stage(
        STAGE,
        partial(_token_learner, text_to_image_prior),
        inputs={"cutout": cutouts},
        parameters=parameters,
        weights=text_to_image_prior.places,
        batch=batch,
        history=history,
        product_settings=product_settings,
    )


def _token_learner(weights: Weights) -> Work:
    prior = load_text_to_image_prior(
        weights.path, device=weights.device, vae_slicing=weights.vae_slicing, adapters=weights.adapters
    )
    drawer = WordDrawer(prior, load_efficientnet_lite0())

    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        token = learn_token(inputs["cutout"], prior, inputs["parameters"], seed, report, checkpoint)
        drawn = drawer.draw(inputs["cutout"], token)
        return {"tokens": token, "word_checks": drawn.check, "words": drawn.picture}

    return work
