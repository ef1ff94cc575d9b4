"""Turn every outline into a mesh, and refine its shape and colours (stage 2)."""

from __future__ import annotations

from typing import Any, NamedTuple

from diffusers import ControlNetModel

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.method.detail import DetailParameters, refine_detail
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.trial import try_backend, try_meshes
from mpod_pipeline.priors import TextToImagePrior, load_mask_controlnet, load_text_to_image_prior

Settings = DetailParameters


class Models(NamedTuple):
    prior: TextToImagePrior
    controlnet: ControlNetModel | None


def load(settings: DetailParameters, weights: Weights) -> Models:
    prior = weights.open(load_text_to_image_prior)
    return Models(prior, load_mask_controlnet(settings.controlnet, prior) if settings.controlnet else None)


def check(models: Models, settings: DetailParameters) -> None:
    try_backend(try_meshes, settings.backend, models.prior.device)


def make(models: Models, given: Given) -> dict[str, Any]:
    refined = refine_detail(
        given["photos"],
        given["token"],
        given["field"],
        given["masks"],
        models.prior,
        given.settings,
        given.seed,
        given.report,
        given.checkpoint,
        models.controlnet,
    )
    return {"detail_models": refined}
