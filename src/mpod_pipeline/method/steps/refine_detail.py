"""Turn every outline into a mesh, or into points, and refine its shape and colours (stage 2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.method.detail import DetailParameters, FurtherGuides, refine_detail
from mpod_pipeline.method.guidance.likeness import load_likeness_encoders
from mpod_pipeline.method.point_cloud import refine_points
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.trial import try_backend, try_meshes
from mpod_pipeline.priors import (
    NovelViewPrior,
    TextToImagePrior,
    load_mask_controlnet,
    load_novel_view_prior,
    load_text_to_image_prior,
)

Settings = DetailParameters


class Models(NamedTuple):
    prior: TextToImagePrior | NovelViewPrior | None  # the one by which it leads
    text: TextToImagePrior | None
    further: FurtherGuides


def unused(settings: DetailParameters) -> frozenset[str]:
    without_words = set() if settings.asks_with_words else {"token", "text_to_image_prior"}
    return frozenset(without_words if settings.asks_for_views else {*without_words, "novel_view_prior"})


def load(settings: DetailParameters, priors: Mapping[str, Weights]) -> Models:
    text = novel_view = controlnet = encoders = None
    if "text_to_image_prior" in priors:
        text = priors["text_to_image_prior"].open(load_text_to_image_prior)
        if settings.mask_guidance == "controlnet" and settings.controlnet:
            controlnet = load_mask_controlnet(settings.controlnet, text)
    if "novel_view_prior" in priors:
        weights = priors["novel_view_prior"]
        novel_view = weights.open(load_novel_view_prior, absolute_elevation=settings.absolute_elevation)
    prior = text or novel_view
    if settings.likeness and prior:
        encoders = load_likeness_encoders(settings.likeness, prior.device)
    return Models(prior, text, FurtherGuides(controlnet, novel_view, encoders))


def check(models: Models, settings: DetailParameters) -> None:
    if models.prior:
        try_backend(try_meshes, settings.backend, models.prior.device)


def make(models: Models, given: Given) -> dict[str, Any]:
    made = given["photos"], given.inputs.get("token"), given["field"], given["masks"]
    refine = refine_points if given.settings.second_stage == "points" else refine_detail
    return {"detail_models": refine(*made, models.text, *given.how, models.further)}
