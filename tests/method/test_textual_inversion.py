"""The word of a product: where it starts, that it comes to mean the photo, and when learning ends."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.textual_inversion import (
    LEAST_GAIN,
    TEMPLATES,
    TextualInversionParameters,
    check_words,
    denoising_loss,
    has_stopped_falling,
    initial_word,
    learn_token,
    looks_at,
    spread_levels,
    word_errors,
)
from mpod_pipeline.priors import TextToImagePrior, load_text_to_image_prior
from mpod_pipeline.priors.nouns import nouns_of
from mpod_pipeline.priors.schedule import denoise
from tests.priors.tiny import save_tiny_text_to_image


def test_the_nouns_are_things_that_the_vocabulary_has_a_token_for(text_to_image: TextToImagePrior) -> None:
    nouns = nouns_of(text_to_image.tokenizer)
    assert {"mug", "lamp"} <= set(nouns) and not {"of", "a", "an"} & set(nouns)
    for noun in nouns:
        text_to_image.word_embedding(noun)  # one token, or it raises


def picture_of(cutout: NDArray[np.uint8], prior: TextToImagePrior) -> Tensor:
    return reference_view(cutout, prior.image_size * 5 // 4).picture


def first_word(cutout: NDArray[np.uint8], prior: TextToImagePrior, **settings: str) -> str:
    p = TextualInversionParameters(**settings)  # type: ignore[arg-type]
    return initial_word(picture_of(cutout, prior), prior, p, torch.Generator().manual_seed(0))


def test_the_noun_is_found_under_which_the_photo_is_denoised_best(
    cutout: NDArray[np.uint8], text_to_image: TextToImagePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prior that denoises well where it hears of a lamp, and badly for all else."""
    lamp = text_to_image.word_embedding("lamp")
    calls: list[int] = []

    def encode_prompts(texts: list[str], tokens: Tensor) -> Tensor:
        return (tokens - lamp).norm(dim=1)[:, None, None]

    def predict_unguided(noisy: Tensor, timesteps: Tensor, context: Tensor) -> Tensor:
        calls.append(len(noisy))
        alpha, sigma = (text_to_image.schedule.alpha(timesteps, noisy), text_to_image.schedule.sigma(timesteps, noisy))
        clean = text_to_image.encode(picture_of(cutout, text_to_image)[None])
        noise = (noisy - alpha * clean) / sigma
        return text_to_image.schedule.target(clean, noise, timesteps) + context[..., None]

    monkeypatch.setattr(text_to_image, "encode_prompts", encode_prompts)
    monkeypatch.setattr(text_to_image, "predict_unguided", predict_unguided)
    assert first_word(cutout, text_to_image) == "lamp"
    assert max(calls) > 1  # nouns in batches


def test_the_table_or_a_setting_may_say_the_word(
    cutout: NDArray[np.uint8], text_to_image: TextToImagePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = first_word(cutout, text_to_image)
    assert found in nouns_of(text_to_image.tokenizer)
    assert first_word(cutout, text_to_image, category="Kitchen and dining") == found
    monkeypatch.setattr(text_to_image, "predict_unguided", None)  # nothing is searched
    assert first_word(cutout, text_to_image, category=" Mug ") == "mug"
    assert first_word(cutout, text_to_image, category="mug", initial_word="of") == "of"


def test_without_a_word_to_start_from_nothing_begins(
    text_to_image: TextToImagePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_words(text_to_image, TextualInversionParameters())
    with pytest.raises(SetupError, match="'wheelbarrow' is"):
        check_words(text_to_image, TextualInversionParameters(initial_word="wheelbarrow"))
    monkeypatch.setattr("mpod_pipeline.method.textual_inversion.nouns_of", lambda _: [])
    with pytest.raises(SetupError, match="no English noun"):
        check_words(text_to_image, TextualInversionParameters())


def test_a_token_is_learnt_and_nothing_else(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    before = {name: value.clone() for name, value in text_to_image.state_dict().items()}
    p = TextualInversionParameters(steps=3, batch_size=2, initial_word="a")
    token = learn_token(cutouts, text_to_image, p, 0, lambda *_: None)
    assert token.shape == (text_to_image.token_dim,)
    assert not torch.equal(token, text_to_image.word_embedding("a"))
    assert torch.equal(token, learn_token(cutouts, text_to_image, p, 0, lambda *_: None))
    assert all(torch.equal(before[name], value) for name, value in text_to_image.state_dict().items())


def test_the_learnt_token_tells_more_of_the_photo(
    cutout: NDArray[np.uint8], cutouts: Cutouts, text_to_image: TextToImagePrior
) -> None:
    """Stable Diffusion's loss on looks at the photo and noise that the training did not draw."""
    p = TextualInversionParameters(steps=60, batch_size=4, learning_rate=0.2, noise=(0.9, 1.0), initial_word="a")
    generator = torch.Generator().manual_seed(12345)
    unseen = p.model_copy(update={"looks": 64})
    looks = looks_at([picture_of(cutout, text_to_image)], ["front view"], text_to_image, unseen, generator)

    def loss_of(token: torch.Tensor) -> float:
        with torch.no_grad():
            return float(denoising_loss(text_to_image, looks, token))

    initial = text_to_image.word_embedding("a")
    token = learn_token(cutouts, text_to_image, p, 0, lambda *_: None)
    assert loss_of(token) < 0.995 * loss_of(initial)


def test_words_are_judged_under_the_same_noise(cutout: NDArray[np.uint8], text_to_image: TextToImagePrior) -> None:
    p = TextualInversionParameters(looks=3)
    looks = looks_at(
        [picture_of(cutout, text_to_image)], ["front view"], text_to_image, p, torch.Generator().manual_seed(0)
    )
    errors = word_errors(text_to_image, looks, ["mug", "lamp", "mug"])
    assert errors[0] == pytest.approx(float(errors[2]), rel=1e-4) and errors[0] != errors[1]


def test_learning_ends_when_a_round_brings_nothing() -> None:
    falling = [1.0, 0.8, 0.9, 0.7]
    assert not has_stopped_falling(falling, 2)
    assert has_stopped_falling([*falling, 0.9, 0.7], 2)
    assert not has_stopped_falling([*falling, 0.9, 0.7, 0.5], 2)  # within a round looks differ
    assert not has_stopped_falling([1.0, 1.0], 2)
    just = 1 - LEAST_GAIN
    assert not has_stopped_falling([1.0, just - 1e-6], 1) and has_stopped_falling([1.0, just + 1e-6], 1)


def test_any_few_looks_have_noise_of_all_levels() -> None:
    levels = spread_levels((0.4, 1.0), 32)
    for start in range(0, 32, 4):
        some = sorted(levels[start : start + 4])
        assert some[0] < 0.55 and some[-1] > 0.75 and max(np.diff(some)) < 0.3


def a_disc(colour: list[int], radius: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:64, 0:64] + 0.5
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[..., :3] = colour
    picture[..., 3] = ((x - 32) ** 2 + (y - 32) ** 2 < radius**2) * 255
    return picture


@pytest.fixture(scope="module")
def overfitted(tmp_path_factory: pytest.TempPathFactory) -> TextToImagePrior:
    """A tiny prior that knows three pictures by heart, under their words."""
    folder: Path = save_tiny_text_to_image(tmp_path_factory.mktemp("overfitted"))
    prior = load_text_to_image_prior(folder, precision="float32")
    photos = torch.cat([picture_of(KNOWN[word], prior)[None] for word in KNOWN])
    with torch.no_grad():  # its autoencoder is untrained, and its latents are not of unit variance
        prior.vae.register_to_config(scaling_factor=0.18 / float(prior.encode(photos).std()))
        latents = prior.encode(photos)
    weights = [*prior.unet.parameters(), *prior.text_encoder.parameters()]
    optimizer = torch.optim.Adam([weight.requires_grad_(True) for weight in weights], lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    words = torch.stack([prior.word_embedding(word) for word in KNOWN])
    falling = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, total_iters=400)  # so that it settles
    for _ in range(400):
        which = torch.randint(len(KNOWN), (8,), generator=generator)
        timesteps = torch.randint(len(prior.schedule), (8,), generator=generator)
        noise = torch.randn(8, *latents.shape[1:], generator=generator)
        sentences = torch.randint(len(TEMPLATES), (8,), generator=generator).tolist()
        context = prior.encode_prompts([TEMPLATES[i] for i in sentences], words[which])
        noisy = prior.schedule.add_noise(latents[which], noise, timesteps)
        wanted = prior.schedule.target(latents[which], noise, timesteps)
        loss = (prior.predict_unguided(noisy, timesteps, context) - wanted).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        falling.step()
    return prior.requires_grad_(False)


KNOWN = {"mug": a_disc([200, 30, 30], 10), "shoe": a_disc([30, 30, 200], 20), "lamp": a_disc([20, 20, 20], 26)}


def test_the_photos_word_is_found_among_those_that_the_prior_knows(
    overfitted: TextToImagePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpod_pipeline.method.textual_inversion.nouns_of", lambda _: list(KNOWN))
    for word, cutout in KNOWN.items():
        assert first_word(cutout, overfitted) == word


def test_samples_of_the_learnt_word_are_nearer_to_the_photo(overfitted: TextToImagePrior) -> None:
    """And of a word that learning leaves where it was they are not."""
    prior, photo = overfitted, KNOWN["mug"]
    wanted = prior.encode(picture_of(photo, prior)[None])

    def distance(token: Tensor) -> float:
        noise = torch.randn(4, *wanted.shape[1:], generator=torch.Generator().manual_seed(3))
        context = prior.encode_prompts(["a photo of a <e>"] * 4, token[None])
        drawn = denoise(prior.schedule, noise, lambda x, t: prior.predict_unguided(x, t, context), 4)
        return float((drawn - wanted).square().mean())

    def learnt(learning_rate: float) -> Tensor:
        p = TextualInversionParameters(steps=40, initial_word="lamp", learning_rate=learning_rate)
        return learn_token(Cutouts.of(photo, 0.0), prior, p, 0, lambda *_: None)

    empty = distance(prior.word_embedding("lamp"))
    assert distance(learnt(0.3)) < 0.5 * empty
    assert distance(learnt(1e-4)) > 0.9 * empty
