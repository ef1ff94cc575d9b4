"""Field to refined surface (stage 2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.datasets import History, Partitions, Weights
from mpod_pipeline.method import detail
from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.masks import OutlineMasks
from mpod_pipeline.priors import load_mask_controlnet, load_text_to_image_prior

STAGE = Stage(
    "refine_detail",
    artifacts=("detail_models",),
    code_version=8,
    made_by={
        "cutout": "segment",
        "token": "learn_tokens",
        "field": "optimize_outline",
        "masks": "export_masks",
    },
)


def refine_detail(
    cutouts: Partitions,
    tokens: Partitions,
    outline_fields: Partitions,
    outline_masks: Partitions,
    text_to_image_prior: Weights,
    parameters: DetailParameters,
    product_settings: dict[str, dict[str, str]],
    batch: BatchParameters,
    history: History,
) -> Iterator[dict[str, Any]]:
    """Turn every outline into a mesh and refine its shape and colours."""
    yield from run_stage(
        STAGE,
        partial(_refiner, text_to_image_prior, parameters),
        inputs={"cutout": cutouts, "token": tokens, "field": outline_fields, "masks": outline_masks},
        parameters=parameters,
        weights=[text_to_image_prior.path, *([parameters.controlnet] if parameters.controlnet else [])],
        batch=batch,
        history=history,
        product_settings=product_settings,
    )


def _refiner(weights: Weights, parameters: DetailParameters) -> Work:
    prior = load_text_to_image_prior(weights.path, device=weights.device, vae_slicing=weights.vae_slicing)
    controlnet = load_mask_controlnet(parameters.controlnet, prior) if parameters.controlnet else None

    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        masks = OutlineMasks(**inputs["masks"])
        refined = detail.refine_detail(
            inputs["cutout"],
            inputs["token"],
            inputs["field"],
            masks,
            prior,
            inputs["parameters"],
            seed,
            report,
            checkpoint,
            controlnet,
        )
        return {"detail_models": refined.stored()}

    return work
