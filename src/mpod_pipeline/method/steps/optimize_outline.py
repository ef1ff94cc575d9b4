"""Optimise every product's outline as a radiance field (stage 1)."""

from __future__ import annotations

from typing import Any

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.method.cavities import depth_network
from mpod_pipeline.method.outline import OutlineParameters, optimize_outline
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.trial import try_backend, try_volumes
from mpod_pipeline.priors import NovelViewPrior, load_novel_view_prior

Settings = OutlineParameters


def load(settings: OutlineParameters, weights: Weights) -> NovelViewPrior:
    return weights.open(load_novel_view_prior, absolute_elevation=settings.absolute_elevation)


def check(prior: NovelViewPrior, settings: OutlineParameters) -> None:
    if settings.cavities:
        depth_network(prior)
    try_backend(try_volumes, settings.backend, prior.device)


def make(prior: NovelViewPrior, given: Given) -> dict[str, Any]:
    made = optimize_outline(given["cutouts"], prior, given.settings, given.seed, given.report, given.checkpoint)
    return {"outline_fields": made.field, "aligned_photos": made.photos}
