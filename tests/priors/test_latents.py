"""Gradients through the autoencoder: exact in float32, alive in float16, and those of Eq. 1 down to the pixels."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from mpod_pipeline.priors.latents import encode_pictures
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.priors.sds import sds_loss
from tests.priors.layouts import NOISE, make_vae


@pytest.fixture(scope="module")
def vae() -> AutoencoderKL:
    torch.manual_seed(0)
    return make_vae().eval().requires_grad_(False)


def pictures() -> Tensor:
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)).requires_grad_(True)


def plain_encoding(vae: AutoencoderKL, x: Tensor) -> Tensor:
    return vae.encode((x * 2 - 1).to(vae.dtype)).latent_dist.mode().float() * vae.config.scaling_factor


def test_in_float32_it_is_autograds_own_gradient(vae: AutoencoderKL) -> None:
    ours, theirs = pictures(), pictures()
    encode_pictures(vae, ours).square().mean().backward()
    plain_encoding(vae, theirs).square().mean().backward()
    assert ours.grad is not None and theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, atol=0, rtol=1e-6)


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-8])
def test_in_float16_small_gradients_do_not_vanish(vae: AutoencoderKL, size: float) -> None:
    half = copy.deepcopy(vae).half()
    direction = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(2)) * size
    ours, truth = pictures(), pictures()
    (encode_pictures(half, ours) * direction).mean().backward()
    (plain_encoding(vae, truth) * direction).mean().backward()
    assert ours.grad is not None and truth.grad is not None
    assert (ours.grad - truth.grad).norm() < 0.02 * truth.grad.norm()  # float16 has three digits


def test_plain_float16_would_lose_such_a_gradient(vae: AutoencoderKL) -> None:
    half = copy.deepcopy(vae).half()
    x = pictures()
    (plain_encoding(half, x).mean() * 1e-5).backward()
    assert x.grad is not None and (x.grad == 0).float().mean() > 0.5


def kept_bytes(vae: AutoencoderKL, x: Tensor) -> tuple[int, Tensor]:
    """What autograd keeps of an encoding for its way back, and the gradient."""
    storages: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        latents = encode_pictures(vae, x)
        kept = sum(storages.values())
    latents.square().mean().backward()
    assert x.grad is not None
    return kept, x.grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_slicing_keeps_less_and_gives_the_same_gradient(vae: AutoencoderKL, dtype: torch.dtype) -> None:
    whole, sliced = copy.deepcopy(vae).to(dtype), copy.deepcopy(vae).to(dtype)
    sliced.enable_slicing()
    much, expected = kept_bytes(whole, pictures())
    little, gradient = kept_bytes(sliced, pictures())
    assert (gradient - expected).norm() < (1e-5 if dtype == torch.float32 else 1e-2) * expected.norm()
    assert little < 0.1 * much


def test_no_gradient_is_a_gradient_of_zeros(vae: AutoencoderKL) -> None:
    x = pictures()
    (encode_pictures(vae, x) * 0).sum().backward()
    assert x.grad is not None and (x.grad == 0).all()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_pixels_gradient_is_that_of_a_loss_written_out(vae: AutoencoderKL, prediction: str) -> None:
    """Eq. 1: w(t) (eps_hat - eps) times the latents' Jacobian, here as autograd's gradient of an inner product."""
    from diffusers import DDIMScheduler

    schedule = NoiseSchedule.of(DDIMScheduler(prediction_type=prediction, **NOISE))
    timesteps = torch.tensor([200, 700])

    def predict(noisy: Tensor, t: Tensor) -> Tensor:
        return torch.tanh(noisy) * (1 + t[:, None, None, None] / 1000)

    ours, theirs = pictures(), pictures()
    generator = torch.Generator().manual_seed(3)
    latents = encode_pictures(vae, ours)
    sds_loss(latents, predict, schedule, timesteps, generator, "sigma_squared").backward()

    z = plain_encoding(vae, theirs)
    with torch.no_grad():
        noise = torch.randn(z.shape, generator=torch.Generator().manual_seed(3))
        abar = schedule.alphas_cumprod[timesteps][:, None, None, None]
        noisy = abar.sqrt() * z + (1 - abar).sqrt() * noise
        said = predict(noisy, timesteps)
        epsilon = said if prediction == "epsilon" else abar.sqrt() * said + (1 - abar).sqrt() * noisy
        gradient = (1 - abar) * (epsilon - noise)
    ((gradient * z).sum() / z.numel()).backward()
    assert ours.grad is not None and theirs.grad is not None
    torch.testing.assert_close(ours.grad, theirs.grad, atol=1e-7, rtol=1e-3)
