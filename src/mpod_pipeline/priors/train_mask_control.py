"""Training of the ControlNet on the mask, for a text prior that stays as it is: on pictures and their silhouettes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import ControlNetModel
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.base.report import Report
from mpod_pipeline.priors.attention import Float32Attention
from mpod_pipeline.priors.controlnet import MaskControl
from mpod_pipeline.priors.text_to_image import TextToImagePrior
from mpod_pipeline.priors.train_denoisers import draw_timesteps
from mpod_pipeline.priors.training import TrainingParameters, fit, mixed_precision, step_generator

#: The share of the batch that is told nothing in words, and that of timesteps from the noisier half.
WITHOUT_WORDS, HIGH_NOISE = 0.3, 0.5
#: Where errors are measured.
TIMESTEPS = (900, 700, 400)


@dataclass(frozen=True)
class MaskedPictures:
    """N pictures as the prior sees them, with their silhouettes and sentences."""

    latents: Tensor  # [N, 4, h, w], scaled
    masks: Tensor  # [N, 1, S, S] uint8, 1 inside
    contexts: Tensor  # [N, L, D] of the sentences
    nothing: Tensor  # [1, L, D] of no words

    def __len__(self) -> int:
        return len(self.latents)

    @classmethod
    @torch.no_grad()
    def of(cls, prior: TextToImagePrior, rgba: NDArray[np.uint8], sentences: list[str]) -> MaskedPictures:
        """Of pictures [N, S, S, 4] with straight alpha."""
        pictures = torch.from_numpy(rgba).float() / 255
        on_white = pictures[..., :3] * pictures[..., 3:] + 1 - pictures[..., 3:]
        chunks = on_white.permute(0, 3, 1, 2).split(32)
        latents = torch.cat([prior.encode(chunk.to(prior.device)) for chunk in chunks])
        contexts = torch.cat([prior.encode_prompt(text).context for text in sentences])
        masks = (pictures[..., 3] >= 0.5).byte()[:, None]
        return cls(latents, masks.to(prior.device), contexts, prior.encode_prompt("").context)


def train_mask_control(
    prior: TextToImagePrior,
    network: ControlNetModel,
    data: MaskedPictures,
    p: TrainingParameters,
    checkpoint: Path,
    report: Report,
) -> ControlNetModel:
    """Train the network; the prior, in float32, is only asked."""
    if prior.device.type == "cpu":
        for each in (network, prior.unet):
            each.set_attn_processor(Float32Attention())

    def loss_of_step(net: Any, step: int) -> Tensor:
        rng, generator = step_generator(p.seed, step, prior.device)
        chosen = torch.from_numpy(rng.integers(0, len(data), p.batch_size))
        told = torch.from_numpy(rng.random(p.batch_size) >= WITHOUT_WORDS).to(prior.device)
        context = torch.where(told[:, None, None], data.contexts[chosen], data.nothing)
        timesteps = draw_timesteps(p.batch_size, HIGH_NOISE, rng).to(prior.device)
        noise = torch.randn(data.latents[chosen].shape, generator=generator, device=prior.device)
        return control_loss(prior, net, data.latents[chosen], data.masks[chosen], context, timesteps, noise)

    fit(network, loss_of_step, p, checkpoint, report)
    return network


def control_loss(
    prior: TextToImagePrior,
    network: ControlNetModel,
    clean: Tensor,
    masks: Tensor,
    context: Tensor,
    timesteps: Tensor,
    noise: Tensor,
) -> Tensor:
    """Mean squared error of the prior's prediction under the network's control."""
    noisy = prior.schedule.add_noise(clean, noise, timesteps)
    control = MaskControl.of(network, masks.float(), prior.image_size)
    with mixed_precision(prior.device):
        residuals = control.residuals(noisy, timesteps, context)
        prediction = prior.unet(noisy, timesteps, encoder_hidden_states=context, **residuals).sample
    return (prediction.float() - prior.schedule.target(clean, noise, timesteps)).square().mean()


@torch.no_grad()
def control_errors(prior: TextToImagePrior, network: ControlNetModel, data: MaskedPictures) -> dict[str, float]:
    """The mean error at `TIMESTEPS`: shown each picture's own mask, another picture's, and by the prior alone, which is
    told by a network that has learnt nothing. Where the first is no less than the others, the mask is not heard.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(data.latents.shape, generator=generator).to(data.latents)
    unlearnt = ControlNetModel.from_config(network.config).to(prior.device)
    for part in (*unlearnt.controlnet_down_blocks, unlearnt.controlnet_mid_block):
        torch.nn.init.zeros_(part.weight)
        torch.nn.init.zeros_(part.bias)
    asked = {"own_mask": (network, data.masks), "other_mask": (network, data.masks.roll(1, 0))}
    errors: dict[str, list[float]] = {}
    for t in TIMESTEPS:
        timesteps = torch.full((len(data),), t, device=prior.device)
        for name, (by, masks) in {**asked, "no_mask": (unlearnt, data.masks)}.items():
            loss = control_loss(prior, by, data.latents, masks, data.contexts, timesteps, noise)
            errors.setdefault(name, []).append(float(loss))
    return {name: float(np.mean(values)) for name, values in errors.items()}
