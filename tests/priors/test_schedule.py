"""Our noise against diffusers' own schedulers."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.priors.architecture import make_scheduler
from mpod_pipeline.priors.schedule import NoiseSchedule, ddim_step, denoise, timestep_pairs

STABLE_DIFFUSION = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _draw() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 4, 8, 8, generator=generator)
    return clean, noise, torch.tensor([3, 500, 999])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_noise_and_target_are_those_of_diffusers(prediction: str) -> None:
    theirs = DDPMScheduler(prediction_type=prediction, **STABLE_DIFFUSION)
    ours = NoiseSchedule.of(theirs)
    clean, noise, timesteps = _draw()
    torch.testing.assert_close(ours.add_noise(clean, noise, timesteps), theirs.add_noise(clean, noise, timesteps))
    expected = noise if prediction == "epsilon" else theirs.get_velocity(clean, noise, timesteps)
    torch.testing.assert_close(ours.target(clean, noise, timesteps), expected)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_noise_and_clean_back(prediction: str) -> None:
    schedule = NoiseSchedule.of(DDPMScheduler(prediction_type=prediction, **STABLE_DIFFUSION))
    clean, noise, timesteps = _draw()
    noisy, target = schedule.add_noise(clean, noise, timesteps), schedule.target(clean, noise, timesteps)
    torch.testing.assert_close(schedule.epsilon(target, noisy, timesteps), noise, atol=1e-5, rtol=1e-5)
    # At t = 999 alpha is 0.07, so float32's 1e-7 on the noisy latents is 1e-5 on the clean ones.
    torch.testing.assert_close(schedule.clean(target, noisy, timesteps), clean, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_ddim_steps_are_those_of_diffusers(prediction: str) -> None:
    theirs = DDIMScheduler(prediction_type=prediction, clip_sample=False, set_alpha_to_one=True, **STABLE_DIFFUSION)
    theirs.set_timesteps(10)
    schedule = NoiseSchedule.of(theirs)
    noisy, output, _ = _draw()
    t = int(theirs.timesteps[3])
    expected = theirs.step(output, t, noisy).prev_sample
    torch.testing.assert_close(ddim_step(schedule, noisy, output, t, t - 100), expected)
    torch.testing.assert_close(ddim_step(schedule, noisy, output, 0, -1), theirs.step(output, 0, noisy).prev_sample)


def test_sampling_goes_from_the_noisiest_timestep_to_none() -> None:
    pairs = timestep_pairs(NoiseSchedule.of(DDPMScheduler(**STABLE_DIFFUSION)), 7)
    assert len(pairs) == 7
    assert pairs[0][0] == 999
    assert pairs[-1][1] == -1
    assert all(t > lower for t, lower in pairs)


def test_the_small_priors_start_from_noise_alone() -> None:
    """There sampling starts, ours and diffusers' own."""
    theirs = make_scheduler()
    schedule = NoiseSchedule.of(theirs)
    clean, noise, _ = _draw()
    last = torch.full((3,), timestep_pairs(schedule, 7)[0][0])
    torch.testing.assert_close(schedule.add_noise(clean, noise, last), noise)
    torch.testing.assert_close(schedule.clean(-clean, noise, last), clean)
    theirs.set_timesteps(7)
    assert int(theirs.timesteps[0]) == last[0]


def test_an_unknown_prediction_type_is_refused() -> None:
    with pytest.raises(SetupError, match="sample"):
        NoiseSchedule.of(DDPMScheduler(prediction_type="sample"))


def test_denoising_ends_at_the_picture_that_the_prediction_means() -> None:
    """From any level, under a predictor that always knows the clean latents."""
    schedule = NoiseSchedule.of(make_scheduler())
    clean, noise = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    asked: list[int] = []

    def predict(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        asked.append(int(timesteps[0]))
        hidden = (noisy - schedule.alpha(timesteps, noisy) * clean) / schedule.sigma(timesteps, noisy)
        return schedule.target(clean, hidden, timesteps)

    for start in (1.0, 0.4):
        top = round(start * (len(schedule) - 1))
        noisy = schedule.add_noise(clean, noise, torch.full((2,), top))
        torch.testing.assert_close(denoise(schedule, noisy, predict, 4, start), clean, atol=1e-3, rtol=0)
        assert asked[0] == top and len(asked) == 4 and asked == sorted(asked, reverse=True)
        asked.clear()
