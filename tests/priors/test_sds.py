"""Score distillation against a written-out gradient."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor

from mpod_pipeline.priors.architecture import make_scheduler
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.priors.sds import SdsParameters, annealed_timesteps, sds_loss

SCHEDULE = NoiseSchedule.of(DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"))


@pytest.mark.parametrize("weighting", ["sigma_squared", "clean", "uniform"])
def test_the_gradient_is_that_of_equation_1(weighting: str) -> None:
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    timesteps = torch.tensor([100, 800])
    predicted = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))

    loss = sds_loss(
        latents,
        lambda noisy, t: predicted,
        SCHEDULE,
        timesteps,
        torch.Generator().manual_seed(2),
        weighting,  # type: ignore[arg-type]
    )
    loss.backward()

    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(2))
    abar = SCHEDULE.alphas_cumprod[timesteps][:, None, None, None]
    weight = {"sigma_squared": 1 - abar, "clean": ((1 - abar) / abar).sqrt(), "uniform": torch.ones_like(abar)}
    expected = weight[weighting] * (predicted - noise) / latents.numel()
    # The target is latents - gradient, rounded to float32: an error of 1e-7 of the latents, over numel.
    torch.testing.assert_close(latents.grad, expected, atol=1e-8, rtol=1e-4)


def test_clean_weighting_is_the_distance_to_the_one_step_estimate() -> None:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    timesteps = torch.tensor([400])
    seen: dict[str, Tensor] = {}

    def predict(noisy: Tensor, t: Tensor) -> Tensor:
        seen["noisy"] = noisy
        seen["prediction"] = 0.3 * noisy
        return seen["prediction"]

    sds_loss(latents, predict, SCHEDULE, timesteps, torch.Generator().manual_seed(0), "clean").backward()
    estimate = SCHEDULE.clean(seen["prediction"], seen["noisy"], timesteps)
    assert latents.grad is not None
    torch.testing.assert_close(latents.grad, (latents.detach() - estimate) / latents.numel(), atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(("weighting", "factor"), [("sigma_squared", 0.0), ("clean", 1.0), ("uniform", 0.0)])
def test_where_no_picture_is_left_the_gradient_is_finite(weighting: str, factor: float) -> None:
    """At the last timestep of our small priors: alpha is 0 there, sigma 1."""
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    estimate = torch.randn(latents.shape, generator=torch.Generator().manual_seed(1))
    sds_loss(
        latents,
        lambda noisy, t: -estimate,
        NoiseSchedule.of(make_scheduler()),
        torch.tensor([999]),
        torch.Generator().manual_seed(2),
        weighting,  # type: ignore[arg-type]
    ).backward()
    assert latents.grad is not None
    expected = factor * (latents.detach() - estimate) / latents.numel()
    torch.testing.assert_close(latents.grad, expected, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize(("spoilt", "sound"), [(1, True), (2, False)])
def test_a_prediction_that_is_no_number_is_asked_for_once_more(spoilt: int, sound: bool) -> None:
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    asked: list[torch.Tensor] = []

    def predict(noisy: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(noisy)
        return noisy * (float("nan") if len(asked) <= spoilt else 1.0)

    loss = sds_loss(latents, predict, SCHEDULE, torch.tensor([400, 400]), torch.Generator())
    loss.backward()
    assert len(asked) == 2 and not torch.equal(asked[0], asked[1])
    assert torch.isfinite(loss) == sound
    assert latents.grad is not None and bool(torch.isfinite(latents.grad).all()) == sound


def test_no_gradient_goes_through_the_prior() -> None:
    weight = torch.ones((), requires_grad=True)
    latents = torch.zeros(1, 4, 8, 8, requires_grad=True)
    sds_loss(
        latents, lambda noisy, t: weight * noisy, SCHEDULE, torch.tensor([500]), torch.Generator().manual_seed(0)
    ).backward()
    assert weight.grad is None
    assert latents.grad is not None and latents.grad.abs().sum() > 0


def test_timesteps_fall_from_the_first_interval_to_the_last() -> None:
    p = SdsParameters(guidance_scale=1, start=(0.6, 0.9), end=(0.1, 0.2))
    generator = torch.Generator().manual_seed(0)
    first = torch.cat([annealed_timesteps(p, 0.0, 4, SCHEDULE, generator) for _ in range(50)])
    last = torch.cat([annealed_timesteps(p, 1.0, 4, SCHEDULE, generator) for _ in range(50)])
    assert first.min() >= 599 and first.max() <= 900
    assert last.min() >= 99 and last.max() <= 200
