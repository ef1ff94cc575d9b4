"""Zero-1-to-3 as a guide: what the photo's product looks like from another side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.further_photos import nearest_photo
from mpod_pipeline.method.proportions import shows_depth
from mpod_pipeline.priors.novel_view import NovelViewPrior, PhotoCondition
from mpod_pipeline.priors.sds import SdsParameters, annealed_timesteps, sds_loss
from mpod_pipeline.rendering.cameras import Cameras

#: How the prior foretells further photos: steps of DDIM (twice as many tell the same), and what is paper in a picture.
STEPS, PAPER = 4, 0.95
#: Foretold photos are compared in so many pixels a side. So few forgive a camera that is wrong by some degrees.
FORETOLD = 12
#: The error up to which the prior is believed: it knows such products.
KNOWN = 0.0125


class NovelViewSds(SdsParameters):
    """How Zero-1-to-3 is asked."""

    angle_weighted: bool = Field(
        False, description="whether a view counts as it is turned from the photo's: 0 there, 1 at the back (Magic123)"
    )
    asked_about: Literal["front", "nearest"] = Field(
        "front",
        description="the photo that it starts from, of several: the front, all that the small prior was trained "
        "to start from; or the one nearest to the view, for a prior that knows photos from all round",
    )


@dataclass(frozen=True)
class NovelViewGuidance:
    """Zero-1-to-3, with the photos that it is asked about. doubt: what its weight is divided by."""

    prior: NovelViewPrior
    photos: Cutouts
    conditions: Sequence[PhotoCondition]
    doubt: float

    @classmethod
    def of(cls, prior: NovelViewPrior, photos: Cutouts) -> NovelViewGuidance:
        pictures = [reference_view(photo.picture, prior.image_size).picture for photo in photos.photos]
        elevations = [photo.elevation_deg for photo in photos.photos]
        conditions = [prior.encode_photo(*photo) for photo in zip(pictures, elevations, strict=True)]
        return cls(prior, photos, conditions, doubt(prior, photos))

    def loss(
        self, pictures: Tensor, cameras: Cameras, p: NovelViewSds, progress: float, generator: torch.Generator
    ) -> Tensor:
        """SDS (Eq. 1) of pictures [B, R, R, 3], a scalar. All views are asked about one photo: the nearest is that
        of the first camera.
        """
        about = 0 if p.asked_about == "front" else nearest_photo(self.photos, float(cameras.azimuth_deg[0]))
        photo, condition = self.photos.photos[about], self.conditions[about]
        turned = cameras.turned(-photo.azimuth_deg)
        latents = self.prior.encode(pictures.permute(0, 3, 1, 2))
        pose = self.prior.pose(condition, turned.azimuth_deg, turned.elevation_deg)
        timesteps = annealed_timesteps(p, progress, len(cameras), self.prior.schedule, generator).to(latents.device)

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            return self.prior.predict(noisy, t, condition, pose, p.guidance_scale)

        factor = angle_factor(cameras, photo.camera).to(latents) if p.angle_weighted else None
        loss = sds_loss(latents, predict, self.prior.schedule, timesteps, generator, p.weighting, factor)
        return p.weight / self.doubt * loss


def doubt(prior: NovelViewPrior, photos: Cutouts) -> float:
    """By what SDS's weight is divided: the more is shown, the less is guessed, and less still where the prior is wrong.

    It is the number of photos n, if the prior foretells the further ones from the front. Then it grows with the cube of
    the error, to the cube of n. That it is at once without a photo from a side: a back's outline is the front's.
    """
    n = len(photos.photos)
    if not shows_depth(photos):
        return float(n**3)
    return n * min(max(1.0, (foretelling_error(prior, photos) / KNOWN) ** 3), float(n**2))


@torch.no_grad()
def foretelling_error(prior: NovelViewPrior, photos: Cutouts) -> float:
    """The mean squared error of what the prior, shown the front, makes of the further photos.

    They are compared in `FORETOLD` pixels a side. These count as far as either shows the product there.
    """
    front = reference_view(photos.front.picture, prior.image_size).picture
    made = prior.sample(
        front,
        torch.tensor([photo.azimuth_deg for photo in photos.others]),
        torch.tensor([photo.elevation_deg for photo in photos.others]),
        photo_elevation_deg=photos.front.elevation_deg,
        steps=STEPS,
        guidance_scale=1.0,
    ).cpu()
    true = [reference_view(photo.picture, prior.image_size) for photo in photos.others]
    pictures, masks = torch.stack([view.picture for view in true]), torch.stack([view.mask for view in true])
    seen = made.amin(dim=1).lt(PAPER).to(masks)
    made, pictures, masks, seen = (F.adaptive_avg_pool2d(each, FORETOLD) for each in (made, pictures, masks, seen))
    weight = torch.maximum(masks, seen)
    error = (made - pictures).square().mean(dim=1) * weight
    return float((error.sum(dim=(1, 2)) / weight.sum(dim=(1, 2)).clamp_min(1e-6)).mean())


def angle_factor(cameras: Cameras, photo: Cameras) -> Tensor:
    """How far cameras are turned from a photo's along the great circle, [B] in [0, 1]: 1 is the opposite side."""
    cosine = (cameras.basis[3] * photo.basis[3].to(cameras.basis[3])).sum(dim=-1)
    return cosine.clamp(-1, 1).arccos() / torch.pi
