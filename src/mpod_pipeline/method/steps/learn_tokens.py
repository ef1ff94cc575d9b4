"""Learn a word for every product (textual inversion), and look at what it draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.textual_inversion import TextualInversionParameters, check_words, learn_token
from mpod_pipeline.method.words import WordDrawer
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.priors import load_text_to_image_prior

Settings = TextualInversionParameters


def load(settings: TextualInversionParameters, priors: Mapping[str, Weights]) -> WordDrawer:
    return WordDrawer(priors["text_to_image_prior"].open(load_text_to_image_prior), load_efficientnet_lite0())


def check(drawer: WordDrawer, settings: TextualInversionParameters) -> None:
    check_words(drawer.prior, settings)


def make(drawer: WordDrawer, given: Given) -> dict[str, Any]:
    token = learn_token(given["cutouts"], drawer.prior, *given.how)
    drawn = drawer.draw(given["cutouts"].front.picture, token)
    return {"tokens": token, "word_checks": drawn.check, "words": drawn.picture}
