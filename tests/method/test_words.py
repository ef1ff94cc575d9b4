"""What a word draws, and whether that is the product."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.method import words
from mpod_pipeline.method.words import OTHER_WORDS, SENTENCES, TIMES, UNKNOWN, WordDrawer
from mpod_pipeline.priors import TextToImagePrior
from mpod_pipeline.priors.nouns import nouns_of


class Brightness:
    """Sees how bright a picture is, as a direction."""

    name = "brightness"

    def embed(self, images: Tensor) -> Tensor:
        angle = images.mean(dim=(1, 2, 3)) * torch.pi / 2
        return torch.stack([angle.cos(), angle.sin()], dim=1)


def drawer(prior: TextToImagePrior, monkeypatch: pytest.MonkeyPatch, brightness: dict[str, float]) -> WordDrawer:
    """One whose samples are as bright as their word is said to be, grey for all other words."""
    said = {tuple(prior.word_embedding(word).tolist()): value for word, value in brightness.items()}

    def samples(self: WordDrawer, tokens: list[Tensor], sentences: list[str]) -> Tensor:
        levels = [said.get(tuple(token.tolist()), 0.5) for token in tokens for _ in sentences]
        return torch.tensor(levels)[:, None, None, None].expand(-1, 3, prior.image_size, prior.image_size)

    monkeypatch.setattr(WordDrawer, "samples", samples)
    return WordDrawer(prior, Brightness())


def test_a_word_is_flagged_that_draws_what_any_other_word_does(
    cutout: NDArray[np.uint8], text_to_image: TextToImagePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = drawer(text_to_image, monkeypatch, {"of": 0.85, "a": 0.5, "lamp": 0.2}).draw
    known, other, far = (draw(cutout, text_to_image.word_embedding(word)) for word in ("of", "a", "lamp"))
    assert known.check["flags"] == ""  # the photo is as bright: a disc on white
    assert other.check["flags"] == far.check["flags"] == UNKNOWN
    similarity = [float(word.check["word_similarity_brightness"]) for word in (known, other, far)]
    assert similarity[0] > 0.98 and similarity == sorted(similarity, reverse=True)


def test_the_picture_shows_the_photo_and_the_samples_of_each_sentence(
    cutout: NDArray[np.uint8], text_to_image: TextToImagePrior
) -> None:
    drawn = WordDrawer(text_to_image, Brightness()).draw(cutout, text_to_image.word_embedding("mug"))
    size = text_to_image.image_size
    assert drawn.picture.shape == (TIMES * size, (1 + len(SENTENCES)) * size, 3)
    photo = words.reference_view(cutout, size).picture.permute(1, 2, 0) * 255
    assert np.abs(drawn.picture[:size, :size] - photo.numpy()).max() <= 0.5
    assert [sentence.rpartition(", ")[2] for sentence in SENTENCES[1:]] == ["front view", "side view", "back view"]
    assert len({drawn.picture[:, i * size : (i + 1) * size].tobytes() for i in range(1, 5)}) == 4


def test_others_are_spread_over_the_vocabulary(
    text_to_image: TextToImagePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def samples(self: WordDrawer, tokens: list[Tensor], sentences: tuple[str, ...]) -> Tensor:
        asked.append(len({tuple(token.tolist()) for token in tokens}) * len(sentences))
        return torch.zeros(len(tokens), 3, 8, 8)

    monkeypatch.setattr(WordDrawer, "samples", samples)
    assert len(WordDrawer(text_to_image, Brightness()).others) == asked[0]
    assert asked == [min(OTHER_WORDS, len(nouns_of(text_to_image.tokenizer)))]
