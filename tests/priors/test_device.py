"""Everything that the priors make is made where the networks are.

On fake tensors: they have shapes and devices and no contents, so "cuda" needs no GPU, and an operator that is handed
tensors of two devices raises as the real one does. Backward passes are not covered: autograd's engine wants a driver.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from diffusers import ControlNetModel, DDIMScheduler
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior, load_text_to_image_prior, sds
from mpod_pipeline.priors.camera_projection import CLIPCameraProjection
from mpod_pipeline.priors.controlnet import MaskControl
from mpod_pipeline.priors.mrca import TokenMask
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.priors.sds import SdsParameters, annealed_timesteps, sds_loss
from mpod_pipeline.priors.tokenizer import train_tokenizer
from tests.priors.layouts import (
    NOISE,
    SD15_UNET,
    SENTENCES,
    make_text_encoder,
    make_unet,
    make_vae,
    save_stable_diffusion_15,
)

P = SdsParameters(guidance_scale=3.0)


@pytest.fixture
def on_fake_cuda(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sds, "is_sound", lambda _: True)  # fake tensors have no values
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield


def schedule() -> NoiseSchedule:
    return NoiseSchedule.of(DDIMScheduler(**NOISE))


def half(make: object, *args: object, **kwargs: object) -> nn.Module:
    torch.set_default_dtype(torch.float16)
    try:
        with torch.device("cuda"):
            return make(*args, **kwargs)  # type: ignore[operator, no-any-return]
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_mixture_of_devices_is_noticed(on_fake_cuda: None) -> None:
    with pytest.raises(RuntimeError, match=r"cuda:0.*cpu|cpu.*cuda:0"):
        torch.zeros(3, device="cuda") + torch.zeros(3)


def test_zero123_works_where_it_is(on_fake_cuda: None) -> None:
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=64, projection_dim=768, num_hidden_layers=1, num_attention_heads=2
    )
    prior = NovelViewPrior(
        half(make_vae),
        half(CLIPVisionModelWithProjection, vision),
        half(make_unet, SD15_UNET, 8),
        half(CLIPCameraProjection),
        schedule(),
        (0.5,) * 3,
        (0.3,) * 3,
    )
    condition = prior.encode_photo(torch.rand(3, 64, 64), 10.0)  # the photo comes from a file: on the CPU
    generator = torch.Generator()
    timesteps = annealed_timesteps(P, 0.5, 2, prior.schedule, generator).to(prior.device)
    pose = prior.pose(condition, torch.tensor([0.0, 90.0]), torch.tensor([0.0, 10.0]))
    latents = prior.encode(torch.rand(2, 3, 48, 48, device="cuda", requires_grad=True))
    loss = sds_loss(
        latents,
        lambda noisy, t: prior.predict(noisy, t, condition, pose, P.guidance_scale),
        prior.schedule,
        timesteps,
        generator,
    )
    assert loss.device.type == "cuda" and loss.dtype == torch.float32


def test_stable_diffusion_works_where_it_is(on_fake_cuda: None) -> None:
    tokenizer = train_tokenizer(SENTENCES, 700, 77)
    with torch.device("cuda"):
        text = make_text_encoder(768, 12, len(tokenizer), tokenizer.eos_token_id)
    unet = half(make_unet, SD15_UNET)
    prior = TextToImagePrior(half(make_vae), tokenizer, text, unet, schedule())
    control = half(
        ControlNetModel,
        block_out_channels=(32, 64, 64, 64),
        layers_per_block=1,
        cross_attention_dim=768,
        attention_head_dim=8,
    )
    token = torch.zeros(768)  # a learned token comes from a file
    prompt, nothing = prior.encode_prompt("a photo of <e>", token), prior.encode_prompt("")
    mask = torch.ones(1, 1, 32, 32, device="cuda")
    generator = torch.Generator()
    latents = prior.encode(torch.rand(1, 3, 64, 64, device="cuda", requires_grad=True))
    timesteps = annealed_timesteps(P, 0.5, 1, prior.schedule, generator).to(latents.device)
    for guidance in (
        {"token_mask": TokenMask(mask, prompt.token_columns)},
        {"control": MaskControl.of(control, mask, prior.image_size)},  # type: ignore[arg-type]
    ):
        loss = sds_loss(
            latents,
            lambda noisy, t, guidance=guidance: prior.predict(  # type: ignore[misc]
                noisy, t, [prompt], nothing, P.guidance_scale, **guidance
            ),
            prior.schedule,
            timesteps,
            generator,
        )
        assert loss.device.type == "cuda" and loss.dtype == torch.float32


def test_a_token_is_learnt_where_its_prior_is(on_fake_cuda: None) -> None:
    tokenizer = train_tokenizer(SENTENCES, 700, 77)
    with torch.device("cuda"):
        text = make_text_encoder(768, 12, len(tokenizer), tokenizer.eos_token_id)
    prior = TextToImagePrior(half(make_vae), tokenizer, text, half(make_unet, SD15_UNET), schedule())
    token = prior.word_embedding("a").float().requires_grad_(True)
    context = prior.encode_prompt("a photo of a <e>", token).context
    latents = prior.encode(torch.rand(1, 3, 64, 64, device="cuda"))
    timesteps = torch.randint(0, 1000, (1,)).to(prior.device)
    noisy = prior.schedule.add_noise(latents, torch.randn(latents.shape).to(latents), timesteps)
    prediction = prior.predict_unguided(noisy, timesteps, context)
    assert prediction.device.type == "cuda" and prediction.requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_on_a_real_gpu_the_pixels_gradient_is_the_cpus(tmp_path: Path) -> None:
    """Forward and backward in float16 there, against float32 here."""
    folder = save_stable_diffusion_15(tmp_path / "prior")
    gradients = []
    for device, precision in (("cpu", "float32"), ("cuda", "float16")):
        prior = load_text_to_image_prior(folder, device=device, precision=precision)  # type: ignore[arg-type]
        prompt, nothing = prior.encode_prompt("a photo of <e>", torch.ones(768)), prior.encode_prompt("")
        pictures = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)).to(device)
        pictures.requires_grad_(True)
        token_mask = TokenMask(torch.ones(1, 1, 8, 8, device=device), prompt.token_columns)
        loss = sds_loss(
            prior.encode(pictures),
            lambda noisy, t, prior=prior, asked=(prompt, nothing, token_mask): prior.predict(  # type: ignore[misc]
                noisy, t, [asked[0]], asked[1], 1.0, asked[2]
            ),
            prior.schedule,
            torch.tensor([400], device=device),
            torch.Generator().manual_seed(1),
        )
        loss.backward()
        assert pictures.grad is not None
        gradients.append(pictures.grad.cpu())
    # float16 has three digits; random networks in miniature add their noise up to a few percent (on a CPU: 2)
    assert (gradients[0] - gradients[1]).norm() < 0.1 * gradients[0].norm()
