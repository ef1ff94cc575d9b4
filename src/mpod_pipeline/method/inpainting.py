"""Detail appearance inpainting by samples: what Stable Diffusion paints over renders of all sides, within the outline.

Score distillation asks for the mean of all that a word may mean, which is soft. A sample is one of these, and sharp:
the render is noised and denoised in several steps under MRCA (SDEdit, Meng et al. 2022; DreamGaussian's second stage),
and the mesh is fitted to it by squared and feature distance.
"""

from __future__ import annotations

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor, nn

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.metrics.details import feature_distance
from mpod_pipeline.metrics.encoders import LayeredExtractor
from mpod_pipeline.priors.latents import decode_latents
from mpod_pipeline.priors.schedule import Predict, denoise
from mpod_pipeline.priors.text_to_image import TextToImagePrior


class InpaintingParameters(Parameters):
    """How targets are sampled. Factors of the losses are means over pixels, or over a layer's places."""

    colour: NonNegativeFloat = 100.0
    features: NonNegativeFloat = Field(2.0, description="of EfficientNet-Lite0's early layers; 0 in both: no targets")
    views: PositiveInt = Field(8, description="that have targets at a time; at most as many as masks were exported")
    every: PositiveInt = Field(40, description="steps after which other views get new ones")
    noise: float = Field(0.1, gt=0, le=1, description="of the render, a fraction of the schedule")
    steps: PositiveInt = Field(5, description="of DDIM")
    guidance_scale: float = Field(5.0, ge=0)

    @property
    def wanted(self) -> bool:
        return self.colour > 0 or self.features > 0


class InpaintedViews(nn.Module):
    """Views and what was painted over them: buffers, so that a run that was killed goes on with the same ones."""

    view: Tensor  # [N] int64, of the masks
    pictures: Tensor  # [N, R, R, 3] uint8, on white

    def __init__(self, p: InpaintingParameters, masks: int, resolution: int) -> None:
        super().__init__()
        self.p = p
        count = min(p.views, masks) if p.wanted else 0
        self.register_buffer("view", torch.zeros(count, dtype=torch.int64))
        self.register_buffer("pictures", torch.zeros(count, resolution, resolution, 3, dtype=torch.uint8))

    def due(self, step: int) -> bool:
        return step % self.p.every == 0

    def renew(self, view: Tensor, pictures: Tensor) -> None:
        """Take views [N] of the masks, and pictures [N, 3, R, R] in [0, 1] of them."""
        self.view.copy_(view)
        self.pictures.copy_((pictures.permute(0, 2, 3, 1) * 255).round().byte())

    def drawn(self, count: int, generator: torch.Generator) -> Tensor:
        """So many of the targets at random, [count]."""
        return torch.randperm(len(self.view), generator=generator)[:count]


def painted_over(
    pictures: Tensor,
    outline: Tensor,
    prior: TextToImagePrior,
    predict: Predict,
    p: InpaintingParameters,
    generator: torch.Generator,
) -> Tensor:
    """Samples [N, 3, R, R] near renders [N, 3, R, R]; white where the outline [N, 1, R, R] is 0."""
    with torch.no_grad():
        latents = prior.encode(pictures)
        noise = torch.randn(latents.shape, generator=generator).to(latents)
        level = torch.full((len(latents),), round(p.noise * (len(prior.schedule) - 1)), device=latents.device)
        noisy = prior.schedule.add_noise(latents, noise, level)
        clean = denoise(prior.schedule, noisy, predict, p.steps, p.noise)
        painted = torch.nn.functional.interpolate(
            decode_latents(prior.vae, clean), pictures.shape[-2:], mode="bicubic", antialias=True
        )
    return painted.clamp(0, 1).to(outline) * outline + 1 - outline


def target_losses(
    pictures: Tensor, targets: Tensor, features: LayeredExtractor | None, p: InpaintingParameters
) -> dict[str, Tensor]:
    """How far renders [B, R, R, 3] are from their targets [B, R, R, 3] uint8; without an extractor, in colour alone."""
    wanted = targets.to(pictures) / 255
    losses = {"painted_colour": p.colour * (pictures - wanted).square().mean()}
    if features:
        made, true = (x.permute(0, 3, 1, 2).contiguous() for x in (pictures, wanted))
        distance = feature_distance(features.layers(made), features.layers(true))
        losses["painted_features"] = p.features * distance.mean()
    return losses
