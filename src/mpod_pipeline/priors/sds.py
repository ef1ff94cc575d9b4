"""Score distillation sampling (paper Eq. 1): what a diffusion prior wants changed in a rendered picture."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mpod_pipeline.base.parameters import NoiseRange, Parameters
from mpod_pipeline.priors.schedule import NoiseSchedule, Predict

#: So often a prediction is asked for that is not finite.
TRIES = 2
Weighting = Literal["sigma_squared", "clean", "uniform"]


class SdsParameters(Parameters):
    """How the prior is asked. Noise levels are fractions of the schedule, [low, high], moving from start to end."""

    guidance_scale: float = Field(ge=0)
    start: NoiseRange = (0.5, 0.95)
    end: NoiseRange = (0.05, 0.5)
    weighting: Weighting = "clean"
    weight: float = Field(1.0, ge=0, description="factor of this loss")


def annealed_timesteps(
    p: SdsParameters, progress: float, batch: int, schedule: NoiseSchedule, generator: torch.Generator
) -> Tensor:
    """Timesteps [batch], stratified in an interval that moves linearly with progress in [0, 1]."""
    low, high = (a + (b - a) * progress for a, b in zip(p.start, p.end, strict=True))
    position = (torch.arange(batch) + torch.rand(batch, generator=generator)) / batch
    return ((low + (high - low) * position) * (len(schedule) - 1)).round().long()


def sds_weight(schedule: NoiseSchedule, timesteps: Tensor, like: Tensor, weighting: Weighting) -> Tensor:
    """The factor of ``z - z_0_hat`` that makes it ``w(t) (eps_hat - eps)``, which is ``w(t) alpha / sigma``, shaped to
    multiply ``like``. So no weight is infinite where no picture is left, as at the last timestep of our small priors.

    sigma_squared: ``w(t) = 1 - alphas_cumprod`` (DreamFusion). uniform: 1. clean: ``sigma / alpha``, which makes it the
    gradient of the squared distance to the one-step estimate.
    """
    alpha, sigma = schedule.alpha(timesteps, like), schedule.sigma(timesteps, like)
    if weighting == "sigma_squared":
        return alpha * sigma
    if weighting == "clean":
        return torch.ones_like(sigma)
    return alpha / sigma


def is_sound(prediction: Tensor) -> bool:
    return bool(torch.isfinite(prediction).all())


def sds_loss(
    latents: Tensor,
    predict: Predict,
    schedule: NoiseSchedule,
    timesteps: Tensor,
    generator: torch.Generator,
    weighting: Weighting = "clean",
    factor: Tensor | None = None,
) -> Tensor:
    """A scalar whose gradient with respect to ``latents`` [B, ...] is ``w(t) (eps_hat - eps) / latents.numel()``.

    factor: [B], by which each picture's gradient is multiplied.
    """
    estimate = one_step_estimate(latents, predict, schedule, timesteps, generator)
    with torch.no_grad():
        target = latents - sds_weight(schedule, timesteps, latents, weighting) * (latents - estimate)
    distance = (latents - target).square()
    if factor is not None:
        distance = distance * factor.reshape(-1, *[1] * (latents.ndim - 1))
    return 0.5 * distance.mean()


@torch.no_grad()
def one_step_estimate(
    latents: Tensor, predict: Predict, schedule: NoiseSchedule, timesteps: Tensor, generator: torch.Generator
) -> Tensor:
    """What a prior takes latents [B, ...] for, once they are noised.

    The prediction is made without gradients: Eq. 1 leaves the U-Net's Jacobian out. Where it is not finite, as
    may happen in float16, it is made once more with other noise; where that is no better, the estimate is no number.
    """
    for _ in range(TRIES):
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        noisy = schedule.add_noise(latents, noise, timesteps)
        estimate = schedule.clean(predict(noisy, timesteps), noisy, timesteps)
        if is_sound(estimate):
            break
    return estimate
