"""Stable Diffusion as a guide: what a sentence with the product's word means, seen from a side that it names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from mpod_pipeline.base.parameters import Parameters, Share
from mpod_pipeline.method.cutouts import turn_deg
from mpod_pipeline.method.guidance.likeness import Likeness
from mpod_pipeline.priors.controlnet import MaskControl
from mpod_pipeline.priors.mrca import TokenMask
from mpod_pipeline.priors.schedule import Predict
from mpod_pipeline.priors.sds import SdsParameters, annealed_timesteps, one_step_estimate, sds_loss
from mpod_pipeline.priors.text_to_image import Prompt, TextToImagePrior, view_words
from mpod_pipeline.rendering.cameras import Cameras

#: From where each of a prompt's words for a side is meant: azimuth and elevation, degrees.
FRONT, SIDE, BACK, ABOVE = ((0, 0), (90, 0), (180, 0), (0, 90))


class PromptParameters(Parameters):
    """What is asked for. ``<e>`` is the product's word."""

    prompt: str = "A high-resolution DSLR image of <e>"
    directions: Literal["words", "interpolated"] = Field(
        "words",
        description="how the sentence says where the camera is: by the words for the nearest side, or by what lies "
        "between two sides' (Magic123)",
    )


class TextSds(SdsParameters, PromptParameters):
    """How Stable Diffusion is asked by a sentence alone. after: the share of all steps before which it is not asked."""

    after: Share = 0.0


@dataclass(frozen=True)
class TextGuidance:
    """Stable Diffusion, with a product's sentence encoded for each side."""

    prior: TextToImagePrior
    prompts: Mapping[str, Prompt]  # by the words for a side, which the prompt ends with
    nothing: Prompt
    interpolated: bool = False

    @classmethod
    @torch.no_grad()
    def of(cls, prior: TextToImagePrior, token: Tensor, p: PromptParameters) -> TextGuidance:
        """For a product's token [D]."""
        sides = [view_words(*towards) for towards in (FRONT, SIDE, BACK, ABOVE)]
        prompts = {side: prior.encode_prompt(f"{p.prompt}, {side}", token.to(prior.device)) for side in sides}
        return cls(prior, prompts, prior.encode_prompt(""), p.directions == "interpolated")

    def prompts_of(self, cameras: Cameras) -> list[Prompt]:
        """One a camera."""
        directions = zip(cameras.azimuth_deg.tolist(), cameras.elevation_deg.tolist(), strict=True)
        if self.interpolated:
            return [self._between_sides(azimuth) for azimuth, _ in directions]
        return [self.prompts[view_words(azimuth, elevation)] for azimuth, elevation in directions]

    def _between_sides(self, azimuth_deg: float) -> Prompt:
        """Linear from front to side, and from there to back."""
        quarters = turn_deg(azimuth_deg, 0.0) / 90
        first, second = (FRONT, SIDE) if quarters < 1 else (SIDE, BACK)
        near, far = (self.prompts[view_words(*towards)] for towards in (first, second))
        return replace(near, context=torch.lerp(near.context, far.context, quarters % 1 if quarters < 2 else 1.0))

    def predictor(
        self,
        cameras: Cameras,
        guidance_scale: float,
        token_mask: TokenMask | None = None,
        control: MaskControl | None = None,
    ) -> Predict:
        """The guided prediction for pictures that the cameras took."""
        prompts = self.prompts_of(cameras)

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            return self.prior.predict(noisy, t, prompts, self.nothing, guidance_scale, token_mask, control)

        return predict

    def loss(
        self,
        pictures: Tensor,
        predict: Predict,
        p: SdsParameters,
        progress: float,
        generator: torch.Generator,
        likeness: Likeness | None = None,
    ) -> Tensor:
        """SDS (Eq. 1) of pictures [B, R, R, 3], a scalar.

        likeness: at so little noise as it says, what the prior makes of the pictures shall be like the photo, in place
        of SDS (Make-It-3D's CLIP-D). The estimate is a constant to which the pictures' own gradient is lent.
        """
        schedule = self.prior.schedule
        latents = self.prior.encode(pictures.permute(0, 3, 1, 2))
        timesteps = annealed_timesteps(p, progress, len(latents), schedule, generator).to(latents.device)
        if likeness and int(timesteps.max()) <= likeness.p.below * (len(schedule) - 1):
            estimate = one_step_estimate(latents, predict, schedule, timesteps, generator)
            return likeness.of_latents(self.prior, estimate + latents - latents.detach())
        return p.weight * sds_loss(latents, predict, schedule, timesteps, generator, p.weighting)
