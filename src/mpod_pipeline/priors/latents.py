"""Pictures to latents and back: the autoencoder as both priors use it."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F


def resize(pictures: Tensor, size: int) -> Tensor:
    """Resize pictures [B, 3, H, W] to size × size, smoothing when shrinking; differentiable."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    return F.interpolate(
        pictures, (size, size), mode="bilinear", align_corners=False, antialias=pictures.shape[-1] > size
    )


def encode_pictures(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Scaled latents of pictures [B, 3, H, W] in [0, 1]: the posterior's mode, differentiable.

    The mode rather than a sample: the same expected gradient with less noise.
    """
    return vae.encode((pictures * 2 - 1).to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in [0, 1] of scaled latents."""
    decoded = vae.decode((latents / vae.config.scaling_factor).to(vae.dtype)).sample
    return (decoded.float() / 2 + 0.5).clamp(0, 1)
