"""The autoencoder of the small family: pictures [3, H, W] to latents [4, H/4, W/4]."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.base.report import Report
from mpod_pipeline.priors.architecture import ArchitectureParameters, make_autoencoder
from mpod_pipeline.priors.networks import device_of
from mpod_pipeline.priors.training import TrainingParameters, fit, mixed_precision, step_generator


class AutoencoderTraining(TrainingParameters):
    """Crops make steps cheap; the last ``whole_steps`` see whole pictures, which is what the network will meet.

    Over the first ``anchor_steps`` three latent channels are held, ever more loosely, to the picture's colours at
    their resolution. Left alone the encoder spends all four on light and dark, and red turns orange.
    """

    crop: PositiveInt = 64
    whole_steps: int = 200
    kl_weight: float = 1e-6
    edge_weight: float = 0.5
    colour_weight: float = 4.0
    anchor_steps: int = 400
    hold_weight: NonNegativeFloat = Field(
        0.1, description="how firmly latents stay where they are, for a network that is trained on"
    )


def to_network(pictures: NDArray[np.uint8] | Tensor, device: torch.device | str) -> Tensor:
    """uint8 [B, H, W, 3] to float [B, 3, H, W] in [-1, 1]."""
    scaled = torch.as_tensor(pictures).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return scaled.contiguous(memory_format=torch.channels_last)


def reconstruction_loss(output: Tensor, target: Tensor, p: AutoencoderTraining) -> Tensor:
    """Mean squared errors of colours, of differences between neighbours, and of means over 4 x 4 pixels.

    The second keeps edges sharp, the third colours true.
    """
    error = output - target
    edges = error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()
    return error.square().mean() + p.edge_weight * edges + p.colour_weight * F.avg_pool2d(error, 4).square().mean()


def colour_anchor(latents: Tensor, target: Tensor) -> Tensor:
    """How far the first three latent channels [B, 4, h, w] are from the picture [B, 3, H, W] shrunk to h x w."""
    return (latents[:, :3] - F.avg_pool2d(target, target.shape[-1] // latents.shape[-1])).square().mean()


def latents_moved(start: AutoencoderKL, pictures: Tensor, latents: Tensor) -> Tensor:
    """Mean squared change of latents [B, 4, h, w] of pictures [B, 3, H, W] since ``start``, in its variance."""
    with torch.no_grad(), mixed_precision(pictures.device):
        before = start.encode(pictures).latent_dist.mean
    return start.config.scaling_factor**2 * (latents - before.float()).square().mean()


def train_autoencoder(
    pictures: NDArray[np.uint8],
    architecture: ArchitectureParameters,
    p: AutoencoderTraining,
    checkpoint: Path,
    report: Report,
    device: str = "cpu",
    start: AutoencoderKL | None = None,
) -> AutoencoderKL:
    """Train on pictures [N, H, W, 3] (on white); the scaling factor makes latents of unit variance.

    A ``start`` is trained on, and its latents and their scaling factor are kept, nearly: denoisers of them stay good.
    """
    torch.manual_seed(p.seed)
    network = make_autoencoder(architecture) if start is None else deepcopy(start)
    network = network.to(device).to(memory_format=torch.channels_last)
    if start is not None:
        start = start.to(device).to(memory_format=torch.channels_last)

    def loss_of_step(net: Any, step: int) -> Tensor:
        rng, _ = step_generator(p.seed, step)
        whole = step >= p.steps - p.whole_steps
        count = max(1, p.batch_size // 4) if whole else p.batch_size
        batch = pictures[rng.integers(0, len(pictures), count)]
        if not whole:
            batch = random_crops(batch, p.crop, rng)
        target = to_network(batch, device)
        with mixed_precision(target.device):
            posterior = net.encode(target).latent_dist
            noise = torch.from_numpy(rng.standard_normal(posterior.mean.shape, dtype=np.float32)).to(device)
            output = net.decode(posterior.mean + posterior.std * noise).sample
        loss = reconstruction_loss(output.float(), target, p) + p.kl_weight * posterior.kl().mean().float()
        if start is not None:
            return loss + p.hold_weight * latents_moved(start, target, posterior.mean.float())
        hold = max(0.0, 1 - step / p.anchor_steps) if p.anchor_steps else 0.0
        return loss + hold * colour_anchor(posterior.mean.float(), target)

    fit(network, loss_of_step, p, checkpoint, report)
    if start is not None:
        return network
    sample = pictures[:: max(1, len(pictures) // 256)][:256]
    network.register_to_config(scaling_factor=1.0 / float(encode(network, sample).std()))
    return network


def random_crops(pictures: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A square crop of each picture [B, H, W, 3], most of them near the middle, where the product is."""
    height, width = pictures.shape[1:3]
    top, left = (
        np.clip(rng.normal((n - size) / 2, n / 8, len(pictures)), 0, n - size).astype(int) for n in (height, width)
    )
    return np.stack([p[t : t + size, x : x + size] for p, t, x in zip(pictures, top, left, strict=True)])


@torch.no_grad()
def encode(network: AutoencoderKL, pictures: NDArray[np.uint8], batch_size: int = 32) -> Tensor:
    """Latents [N, 4, H/4, W/4] float16: means, before the scaling factor."""
    latents = []
    device = device_of(network)
    for start in range(0, len(pictures), batch_size):
        with mixed_precision(device):
            batch = to_network(pictures[start : start + batch_size], device)
            mean = network.encode(batch).latent_dist.mean
        latents.append(mean.half().cpu())
    return torch.cat(latents)


@torch.no_grad()
def autoencoder_psnr(network: AutoencoderKL, pictures: NDArray[np.uint8], batch_size: int = 32) -> float:
    """Mean PSNR in dB of reconstructions of pictures [N, H, W, 3]."""
    values = []
    device = device_of(network)
    for start in range(0, len(pictures), batch_size):
        target = to_network(pictures[start : start + batch_size], device)
        with mixed_precision(device):
            output = network.decode(network.encode(target).latent_dist.mode()).sample
        error = F.mse_loss(output.float().clamp(-1, 1), target, reduction="none").mean((1, 2, 3)) / 4
        values.append(-10 * torch.log10(error.clamp_min(1e-10)))
    return float(torch.cat(values).mean())
