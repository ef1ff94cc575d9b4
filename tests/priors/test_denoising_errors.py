"""A denoiser's errors on validation products, against networks whose errors are known."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpod_pipeline.priors.architecture import make_scheduler, make_unet
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.priors.train_denoisers import (
    MEASURED_TIMESTEPS,
    Condition,
    NovelViewDenoiser,
    ViewLatents,
    denoising_errors,
    novel_view_errors,
)
from tests.priors.tiny import TINY

SCHEDULE = NoiseSchedule.of(make_scheduler())


def some_latents(products: int, image_size: int, views: int = 3) -> ViewLatents:
    rng = np.random.default_rng(0)
    size = image_size // 4
    latents = torch.from_numpy(rng.standard_normal((products, views, 4, size, size)).astype(np.float16))
    photos = torch.from_numpy(rng.integers(0, 256, (products, image_size, image_size, 3)).astype(np.uint8))
    angles = rng.random((products, views)).astype(np.float32)
    return ViewLatents(latents, photos, angles, angles, ["a mug"] * products, 0.5)


class Answers(nn.Linear):
    """Answers with what it is shown, times its context."""

    def forward(
        self, noisy: Tensor, timesteps: Tensor, encoder_hidden_states: Tensor, class_labels: None
    ) -> SimpleNamespace:
        return SimpleNamespace(sample=encoder_hidden_states * noisy)


def answering(factor: float) -> dict[int, float]:
    """The errors of a network that answers with ``factor`` times what it is shown."""

    def condition_of(product: NDArray[np.int64], view: NDArray[np.int64]) -> Condition:
        assert (view > 0).all()  # the photo itself is no novel view
        return Condition(torch.tensor(factor))

    return dict(denoising_errors(Answers(1, 1), some_latents(30, 128), condition_of))


def test_errors_are_those_of_closed_form() -> None:
    """Latents of variance 0.25 and noise of 1: v has ``alpha² + sigma² / 4``, and its covariance with z_t is
    ``alpha sigma (1 - 1 / 4)``. 250,000 numbers: 1% is five standard errors and more.
    """
    silent, echoing = answering(0.0), answering(1.0)
    assert tuple(silent) == MEASURED_TIMESTEPS
    for t in MEASURED_TIMESTEPS:
        alpha2 = float(SCHEDULE.alphas_cumprod[t])
        sigma2 = 1 - alpha2
        v = alpha2 + sigma2 / 4
        z = alpha2 / 4 + sigma2
        covariance = (alpha2 * sigma2) ** 0.5 * 0.75
        assert silent[t] == pytest.approx(v, rel=0.01)
        assert echoing[t] == pytest.approx(v + z - 2 * covariance, rel=0.01)


def test_the_same_noise_every_time() -> None:
    network = NovelViewDenoiser.new(TINY, make_unet(TINY, 4), seed=0).eval()
    data = some_latents(2, TINY.image_size)
    first = novel_view_errors(network, data)
    torch.randn(7)
    assert novel_view_errors(network, data) == first
