"""Optimise every product's outline as a radiance field (stage 1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from mpod_pipeline.base.errors import SetupError, noted
from mpod_pipeline.base.weights import Weights
from mpod_pipeline.method.cavities import depth_network
from mpod_pipeline.method.guidance.likeness import load_likeness_encoders
from mpod_pipeline.method.outline import FurtherModels, OutlineParameters, optimize_outline
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.trial import try_backend, try_volumes
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior, load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.depth import DepthEstimator, load_disparity_network

Settings = OutlineParameters


class Models(NamedTuple):
    prior: NovelViewPrior | TextToImagePrior  # the one by which it leads
    novel_view: NovelViewPrior | None
    further: FurtherModels


def unused(settings: OutlineParameters) -> frozenset[str]:
    without_words = {"token", "text_to_image_prior"} if settings.text is None else set()
    return frozenset(without_words if settings.asks_for_views else {*without_words, "novel_view_prior"})


def load(settings: OutlineParameters, priors: Mapping[str, Weights]) -> Models:
    novel_view = text = None
    if "novel_view_prior" in priors:
        weights = priors["novel_view_prior"]
        novel_view = weights.open(load_novel_view_prior, absolute_elevation=settings.absolute_elevation)
    if "text_to_image_prior" in priors:
        text = priors["text_to_image_prior"].open(load_text_to_image_prior)
    prior = novel_view or text
    if prior is None:
        raise SetupError("Stage 1 has nothing to lead it: give outline.sds a weight, or set outline.text.")
    encoders = depth = None
    lacks: list[str] = []
    with noted(lacks):
        depth = _depth(settings, novel_view, prior)
    with noted(lacks):
        encoders = load_likeness_encoders(settings.likeness, prior.device) if settings.likeness else None
    if lacks:
        raise SetupError("\n".join(lacks))
    return Models(prior, novel_view, FurtherModels(text, None, encoders, depth))


def _depth(
    settings: OutlineParameters, novel_view: NovelViewPrior | None, prior: NovelViewPrior | TextToImagePrior
) -> DepthEstimator | None:
    if not settings.regularisers.depth:
        return None
    if settings.depth_network:
        return load_disparity_network(settings.depth_network, prior.device)
    if novel_view is None or novel_view.depth is None:
        raise SetupError(
            "outline.regularisers.depth needs a depth network: a novel-view prior that has one, or the folder of "
            "another in outline.depth_network."
        )
    return novel_view.depth


def check(models: Models, settings: OutlineParameters) -> None:
    if settings.cavities and models.novel_view:
        depth_network(models.novel_view)
    try_backend(try_volumes, settings.backend, models.prior.device)


def make(models: Models, given: Given) -> dict[str, Any]:
    further = replace(models.further, token=given.inputs.get("token"))
    made = optimize_outline(given["cutouts"], models.novel_view, *given.how, further)
    return {"outline_fields": made.field, "aligned_photos": made.photos}
