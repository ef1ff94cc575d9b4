"""An image encoder as a guide: other sides of the product shall be of the photo's kind (Make-It-3D)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field, NonNegativeFloat, PositiveInt
from torch import Tensor

from mpod_pipeline.base.parameters import Parameters, Share
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.metrics.encoders import ImageEncoder, OpenClipParameters, load_efficientnet_lite0, load_open_clip
from mpod_pipeline.priors import TextToImagePrior
from mpod_pipeline.priors.latents import decoded


class LikenessParameters(Parameters):
    """Factors of 1 - cosine between a picture's embedding and the photo's."""

    view: NonNegativeFloat = Field(1.0, description="of rendered novel views")
    estimate: NonNegativeFloat = Field(10.0, description="of what the text prior makes of them, at little noise")
    below: Share = Field(0.4, description="what little noise is, a fraction of the schedule")
    size: PositiveInt = Field(128, description="pixels of the pictures as EfficientNet-Lite0 sees them")
    open_clip: OpenClipParameters | None = Field(None, description="a CLIP in place of EfficientNet-Lite0")


def load_likeness_encoder(p: LikenessParameters, device: torch.device | str) -> ImageEncoder:
    """Raises SetupError naming what is missing."""
    return load_open_clip(p.open_clip, device) if p.open_clip else load_efficientnet_lite0(device, p.size)


@dataclass(frozen=True)
class Likeness:
    """The photo, as an encoder sees it."""

    encoder: ImageEncoder
    photo: Tensor  # [1, D]
    p: LikenessParameters

    @classmethod
    @torch.no_grad()
    def of(cls, encoder: ImageEncoder, photos: Cutouts, p: LikenessParameters) -> Likeness:
        picture = reference_view(photos.front.picture, 2 * p.size).picture[None]
        return cls(encoder, encoder.embed(picture.to(encoder.device)), p)

    def distance(self, pictures: Tensor) -> Tensor:
        """Mean of 1 - cosine to the photo, of pictures [B, 3, H, W] in [0, 1]; a scalar."""
        embeddings = self.encoder.embed(pictures)
        return 1 - torch.nn.functional.cosine_similarity(embeddings, self.photo.to(embeddings)).mean()

    def of_views(self, pictures: Tensor) -> Tensor:
        """The loss of rendered pictures [B, R, R, 3]."""
        return self.p.view * self.distance(pictures.permute(0, 3, 1, 2))

    def of_latents(self, prior: TextToImagePrior, latents: Tensor) -> Tensor:
        """The loss of a text prior's estimates [B, 4, h, w]; differentiable."""
        return self.p.estimate * self.distance(decoded(prior.vae, latents))
