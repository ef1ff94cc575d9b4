"""The noise of a diffusion model: how much at each timestep, and what a prediction says of the clean latents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from mpod_pipeline.base.errors import SetupError

#: (noisy latents [B, ...], timesteps [B]) -> the guided prediction [B, ...].
Predict = Callable[[Tensor, Tensor], Tensor]


def _over(values: Tensor, like: Tensor) -> Tensor:
    """Values [B] shaped to multiply ``like`` [B, ...]."""
    return values.to(like.device).reshape(-1, *[1] * (like.ndim - 1))


@dataclass(frozen=True)
class NoiseSchedule:
    """``z_t = alpha_t z_0 + sigma_t eps`` with ``alpha_t² = alphas_cumprod[t]``."""

    alphas_cumprod: Tensor  # [T], float32
    prediction_type: Literal["epsilon", "v_prediction"]

    @classmethod
    def of(cls, scheduler: Any) -> NoiseSchedule:
        """From a diffusers scheduler's own table and config."""
        kind = scheduler.config.prediction_type
        if kind not in ("epsilon", "v_prediction"):
            raise SetupError(f"The scheduler's prediction_type is {kind!r}; known are 'epsilon' and 'v_prediction'.")
        return cls(scheduler.alphas_cumprod.float(), kind)

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def alpha(self, timesteps: Tensor, like: Tensor) -> Tensor:
        return _over(self.alphas_cumprod.to(timesteps.device)[timesteps].sqrt(), like)

    def sigma(self, timesteps: Tensor, like: Tensor) -> Tensor:
        return _over((1 - self.alphas_cumprod.to(timesteps.device)[timesteps]).sqrt(), like)

    def add_noise(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """``z_t`` [B, ...] from clean latents, noise and timesteps [B]."""
        return self.alpha(timesteps, latents) * latents + self.sigma(timesteps, latents) * noise

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What a network of this prediction type learns to say: eps, or ``v = alpha eps - sigma z_0``."""
        if self.prediction_type == "epsilon":
            return noise
        return self.alpha(timesteps, latents) * noise - self.sigma(timesteps, latents) * latents

    def epsilon(self, prediction: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The noise that a prediction means."""
        if self.prediction_type == "epsilon":
            return prediction
        return self.alpha(timesteps, noisy) * prediction + self.sigma(timesteps, noisy) * noisy

    def clean(self, prediction: Tensor, noisy: Tensor, timesteps: Tensor) -> Tensor:
        """The one-step estimate of ``z_0`` that a prediction means."""
        alpha, sigma = self.alpha(timesteps, noisy), self.sigma(timesteps, noisy)
        if self.prediction_type == "epsilon":
            return (noisy - sigma * prediction) / alpha
        return alpha * noisy - sigma * prediction


def ddim_timesteps(schedule: NoiseSchedule, steps: int, start: float = 1.0) -> Tensor:
    """``steps`` timesteps, evenly spaced, from the noise level ``start`` (a fraction of the schedule) down; from the
    last one DDIM steps to the clean picture.
    """
    return torch.linspace(start * (len(schedule) - 1), 0, steps + 1)[:-1].round().long()


def timestep_pairs(schedule: NoiseSchedule, steps: int, start: float = 1.0) -> list[tuple[int, int]]:
    """DDIM's (timestep, next lower timestep) pairs; -1 means no noise left."""
    times = ddim_timesteps(schedule, steps, start).tolist()
    return list(zip(times, [*times[1:], -1], strict=True))


def ddim_step(schedule: NoiseSchedule, noisy: Tensor, prediction: Tensor, t: int, lower: int) -> Tensor:
    """One deterministic DDIM step from timestep ``t`` to ``lower``."""
    timesteps = torch.full((len(noisy),), t, device=noisy.device)
    clean = schedule.clean(prediction, noisy, timesteps)
    if lower < 0:
        return clean
    return schedule.add_noise(clean, schedule.epsilon(prediction, noisy, timesteps), torch.full_like(timesteps, lower))


def denoise(schedule: NoiseSchedule, noisy: Tensor, predict: Predict, steps: int, start: float = 1.0) -> Tensor:
    """Clean latents [B, ...] of noisy ones at the noise level ``start``, by DDIM, which draws no noise of its own."""
    for t, lower in timestep_pairs(schedule, steps, start):
        timesteps = torch.full((len(noisy),), t, device=noisy.device)
        noisy = ddim_step(schedule, noisy, predict(noisy, timesteps), t, lower)
    return noisy
