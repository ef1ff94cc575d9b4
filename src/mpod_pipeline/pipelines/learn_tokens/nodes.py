"""Cutout to token."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.datasets import History, Partitions, Weights
from mpod_pipeline.method.textual_inversion import TextualInversionParameters, learn_token
from mpod_pipeline.priors import load_text_to_image_prior

STAGE = Stage("learn_tokens", artifacts=("tokens",), code_version=2, made_by={"cutout": "segment"})


def learn_tokens(
    cutouts: Partitions,
    text_to_image_prior: Weights,
    parameters: TextualInversionParameters,
    batch: BatchParameters,
    history: History,
) -> Iterator[dict[str, Any]]:
    """Learn a word for every product (textual inversion)."""
    yield from run_stage(
        STAGE,
        partial(_token_learner, text_to_image_prior, parameters),
        inputs={"cutout": cutouts},
        parameters=parameters,
        weights=text_to_image_prior.places,
        batch=batch,
        history=history,
    )


def _token_learner(weights: Weights, parameters: TextualInversionParameters) -> Work:
    prior = load_text_to_image_prior(
        weights.path, device=weights.device, vae_slicing=weights.vae_slicing, adapters=weights.adapters
    )

    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        return {"tokens": learn_token(inputs["cutout"], prior, parameters, seed, report, checkpoint)}

    return work
