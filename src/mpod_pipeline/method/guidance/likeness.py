"""Image encoders as guides: other sides of the product shall be of the photo's kind (Make-It-3D)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from mpod_pipeline.base.errors import SetupError, noted
from mpod_pipeline.base.parameters import Parameters, Share
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.metrics.contextual import contextual_distance
from mpod_pipeline.metrics.encoders import (
    FeatureExtractor,
    ImageEncoder,
    OpenClipParameters,
    load_efficientnet_lite0,
    load_open_clip,
    load_vgg19,
)
from mpod_pipeline.priors import TextToImagePrior
from mpod_pipeline.priors.latents import decoded


class LikenessParameters(Parameters):
    """Factors of 1 - cosine between a picture's embedding and the photo's, and of the contextual distance."""

    view: NonNegativeFloat = Field(1.0, description="of rendered novel views")
    estimate: NonNegativeFloat = Field(10.0, description="of what the text prior makes of them, at little noise")
    contextual: NonNegativeFloat = Field(
        0.0, description="of rendered novel views' local features from the photo's, wherever these are"
    )
    below: Share = Field(0.4, description="what little noise is, a fraction of the schedule")
    size: PositiveInt = Field(128, description="pixels of the pictures as EfficientNet-Lite0 sees them")
    open_clip: OpenClipParameters | None = Field(None, description="a CLIP in place of EfficientNet-Lite0")
    vgg19_weights: Path | None = Field(
        None, description="torchvision's VGG19 weights, in place of EfficientNet-Lite0 for local features"
    )


class LikenessEncoders(NamedTuple):
    """Who sees the whole, and who sees local features; the latter None where they have no weight."""

    whole: ImageEncoder
    local: FeatureExtractor | None


def load_likeness_encoders(p: LikenessParameters, device: torch.device | str) -> LikenessEncoders:
    """Raises SetupError naming all that is missing."""
    lacks: list[str] = []
    own = load_efficientnet_lite0(device, p.size)
    whole: ImageEncoder = own
    local: FeatureExtractor = own
    with noted(lacks):
        whole = load_open_clip(p.open_clip, device) if p.open_clip else own
    with noted(lacks):
        local = load_vgg19(p.vgg19_weights, device) if p.vgg19_weights else own
    if lacks:
        raise SetupError("\n".join(lacks))
    return LikenessEncoders(whole, local if p.contextual else None)


@dataclass(frozen=True)
class Likeness:
    """The photo, as encoders see it."""

    encoders: LikenessEncoders
    photo: Tensor  # [1, D]
    features: Tensor | None  # [C, h, w]
    p: LikenessParameters

    @classmethod
    @torch.no_grad()
    def of(cls, encoders: LikenessEncoders, photos: Cutouts, p: LikenessParameters) -> Likeness:
        whole, local = encoders
        picture = reference_view(photos.front.picture, 2 * p.size).picture[None].to(whole.device)
        return cls(encoders, whole.embed(picture), local.features(picture)[0] if local else None, p)

    def distance(self, pictures: Tensor) -> Tensor:
        """Mean of 1 - cosine to the photo, of pictures [B, 3, H, W] in [0, 1]; a scalar."""
        embeddings = self.encoders.whole.embed(pictures)
        return 1 - torch.nn.functional.cosine_similarity(embeddings, self.photo.to(embeddings)).mean()

    def of_views(self, pictures: Tensor) -> Tensor:
        """The loss of rendered pictures [B, R, R, 3]."""
        pictures = pictures.permute(0, 3, 1, 2)
        loss = self.p.view * self.distance(pictures)
        if self.encoders.local is None or self.features is None:
            return loss
        distances = [contextual_distance(view, self.features) for view in self.encoders.local.features(pictures)]
        return loss + self.p.contextual * torch.stack(distances).mean()

    def of_latents(self, prior: TextToImagePrior, latents: Tensor) -> Tensor:
        """The loss of a text prior's estimates [B, 4, h, w]; differentiable."""
        return self.p.estimate * self.distance(decoded(prior.vae, latents))
