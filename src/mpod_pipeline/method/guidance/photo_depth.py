"""What a depth network guesses of the photo as a guide to the surface that the photo's camera sees (Magic123)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mpod_pipeline.method.cutouts import Cutout, reference_view
from mpod_pipeline.method.guidance.regularisers import SURFACE, depth_disagreement
from mpod_pipeline.priors.depth import DepthEstimator
from mpod_pipeline.priors.latents import resize

#: How many pixels' rim of the mask says nothing, as a share of the picture: Magic123's 5 of 512.
RIM = 5 / 512


@dataclass(frozen=True)
class PhotoDepth:
    """The depths that are guessed of a photo, and where it shows the product."""

    depth: Tensor  # [S, S], larger is further, of any scale and shift
    mask: Tensor  # [S, S] in [0, 1]

    @classmethod
    @torch.no_grad()
    def of(cls, network: DepthEstimator, photo: Cutout) -> PhotoDepth:
        reference = reference_view(photo.picture, network.size)
        return cls(network.estimate(reference.picture[None], photo.elevation_deg)[0].cpu(), reference.mask)

    def disagreement(self, depth: Tensor, opacity: Tensor) -> Tensor | None:
        """How far the depths [R, R] that the photo's camera sees are from being these, at any scale and shift: 0 to 2.
        None where too little is seen to say.
        """
        resolution = len(depth)
        expected, mask = (resize(each[None, None], resolution)[0, 0].to(depth) for each in (self.depth, self.mask))
        rim = max(1, round(RIM * resolution))
        inside = -torch.nn.functional.max_pool2d(-mask[None], 2 * rim + 1, 1, rim)[0] > SURFACE
        return depth_disagreement(depth, expected, inside & (opacity.detach() > SURFACE))
