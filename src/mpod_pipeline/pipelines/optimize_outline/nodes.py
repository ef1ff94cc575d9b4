"""Cutout to radiance field (stage 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.datasets import History, Partitions, Weights
from mpod_pipeline.method import outline
from mpod_pipeline.method.outline import OutlineParameters
from mpod_pipeline.priors import load_novel_view_prior

STAGE = Stage(
    "optimize_outline",
    artifacts=("outline_fields",),
    code_version=7,
    made_by={"cutout": "segment"},
)


def optimize_outline(
    cutouts: Partitions,
    novel_view_prior: Weights,
    parameters: OutlineParameters,
    product_settings: dict[str, dict[str, str]],
    batch: BatchParameters,
    history: History,
) -> Iterator[dict[str, Any]]:
    """Optimise every product's outline as a radiance field."""
    yield from run_stage(
        STAGE,
        partial(_outliner, novel_view_prior, parameters),
        inputs={"cutout": cutouts},
        parameters=parameters,
        weights=novel_view_prior.places,
        batch=batch,
        history=history,
        product_settings=product_settings,
    )


def _outliner(weights: Weights, parameters: OutlineParameters) -> Work:
    prior = load_novel_view_prior(
        weights.path,
        device=weights.device,
        absolute_elevation=parameters.absolute_elevation,
        vae_slicing=weights.vae_slicing,
        adapters=weights.adapters,
    )

    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        field = outline.optimize_outline(
            inputs["cutout"], prior, inputs["parameters"], seed, report, checkpoint
        )
        return {"outline_fields": field.stored()}

    return work
