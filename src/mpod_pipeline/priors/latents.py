"""Pictures to latents and back: the autoencoder as both priors use it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from mpod_pipeline.base.threads import in_parts
from mpod_pipeline.priors.networks import Recorded, device_of, dtype_of
from mpod_pipeline.priors.schedule import NoiseSchedule


def resize(pictures: Tensor, size: int) -> Tensor:
    """Resize pictures [B, 3, H, W] to size × size, smoothing when shrinking; differentiable."""
    if pictures.shape[-2:] == (size, size):
        return pictures
    return F.interpolate(
        pictures, (size, size), mode="bilinear", align_corners=False, antialias=pictures.shape[-1] > size
    )


def encode_pictures(vae: AutoencoderKL, pictures: Tensor, mode_of: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """Scaled latents (float32) of pictures [B, 3, H, W] in [0, 1]: the posterior's mode, differentiable.

    The mode rather than a sample: the same expected gradient with less noise. mode_of: what computes it, if not the
    autoencoder itself.

    With the autoencoder's slicing (diffusers' `enable_slicing`) one picture after another is encoded, and again on the
    gradient's way back: autograd keeps what one picture needs, instead of all.
    """
    mode_of = mode_of or partial(_mode, vae)
    scale = GradientScale()
    # Rendered pictures come as [B, H, W, 3] seen as [B, 3, H, W]. In that order of memory the CPU's gradient of group
    # norm takes three times as long.
    x = scale.leaves(pictures * 2 - 1).to(dtype_of(vae)).contiguous()
    if vae.use_slicing and len(x) > 1:
        slices = [checkpoint(mode_of, one, use_reentrant=False, preserve_rng_state=False) for one in x.split(1)]
        mode = torch.cat(slices)
    else:
        mode = mode_of(x)
    return scale.enters(mode.float() * vae.config.scaling_factor)


def _mode(vae: AutoencoderKL, x: Tensor) -> Tensor:
    return vae.encode(x).latent_dist.mode()


class GradientScale:
    """Keeps a gradient within float16's range on its way back through a network in half precision.

    A mean over latents makes gradients of 1e-5 and less, where float16 has few digits or none. So the gradient enters
    the network with a largest value between 1/2 and 1, and is scaled back where it leaves: by a power of two, which
    costs no digit in float32.
    """

    def __init__(self) -> None:
        self._factor = torch.ones(())

    def enters(self, output: Tensor) -> Tensor:
        """The network's output, where its gradient enters."""
        if output.requires_grad:
            output.register_hook(self._normalise)
        return output

    def leaves(self, x: Tensor) -> Tensor:
        """The network's input, where its gradient leaves."""
        if x.requires_grad:
            x.register_hook(lambda gradient: gradient / self._factor)
        return x

    def _normalise(self, gradient: Tensor) -> Tensor:
        largest = gradient.abs().amax().clamp_min(torch.finfo(gradient.dtype).tiny)
        self._factor = torch.ldexp(torch.ones_like(largest), -torch.frexp(largest).exponent)
        return gradient * self._factor


@torch.no_grad()
def decode_latents(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """Pictures [B, 3, H, W] in [0, 1] of scaled latents."""
    return in_parts(partial(decoded, vae), latents)


def decoded(vae: AutoencoderKL, latents: Tensor) -> Tensor:
    """The same, differentiable."""
    pictures = vae.decode((latents / vae.config.scaling_factor).to(dtype_of(vae))).sample
    return (pictures.float() / 2 + 0.5).clamp(0, 1)


class LatentPrior(nn.Module):
    """What both priors are: a U-Net that denoises an autoencoder's latents."""

    def __init__(self, vae: AutoencoderKL, unet: UNet2DConditionModel, schedule: NoiseSchedule) -> None:
        super().__init__()
        self.vae, self.unet, self.schedule = vae, unet, schedule
        self._latents_mode = Recorded(vae, partial(_mode, vae))

    @property
    def image_size(self) -> int:
        """Pixels of the pictures that the prior was trained on."""
        return int(self.unet.config.sample_size) * 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def device(self) -> torch.device:
        return device_of(self.unet)

    def encode(self, pictures: Tensor) -> Tensor:
        """Scaled latents of pictures [B, 3, H, W] in [0, 1] on white, at the prior's own size; differentiable."""
        return encode_pictures(self.vae, resize(pictures, self.image_size), partial(in_parts, self._latents_mode))
