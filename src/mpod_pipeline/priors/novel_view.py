"""Zero-1-to-3: what does the product in this photo look like from over there?

One class for the full-size models and our small one; sizes, scales and prediction type come from the folder's configs
(layout of ``ashawkey/zero123-xl-diffusers``: vae, image_encoder, unet, scheduler, feature_extractor,
clip_camera_projection).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPVisionModelWithProjection

from mpod_pipeline.base.threads import in_parts
from mpod_pipeline.priors.camera_projection import CLIPCameraProjection
from mpod_pipeline.priors.depth import DepthNetwork
from mpod_pipeline.priors.latents import LatentPrior, decode_latents, resize
from mpod_pipeline.priors.networks import Recorded, dtype_of
from mpod_pipeline.priors.schedule import NoiseSchedule, denoise

#: The background that Zero-1-to-3 was trained on.
WHITE = 1.0


@dataclass(frozen=True)
class PhotoCondition:
    """A photo as the network sees it; made once per product."""

    tokens: Tensor  # [1, T, D] image tokens, before the pose joins them
    latents: Tensor  # [1, 4, h, w] the autoencoder's mode, NOT multiplied by the scaling factor
    elevation_deg: float


class NovelViewPrior(LatentPrior):
    """The frozen prior. absolute_elevation: the pose vector is Stable-Zero123's, see `relative_pose`. depth: what tells
    the depths of its pictures, where it has such a network.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        image_encoder: CLIPVisionModelWithProjection,
        unet: UNet2DConditionModel,
        camera_projection: CLIPCameraProjection,
        schedule: NoiseSchedule,
        image_mean: tuple[float, ...],
        image_std: tuple[float, ...],
        absolute_elevation: bool = False,
        depth: DepthNetwork | None = None,
    ) -> None:
        super().__init__(vae, unet, schedule)
        self.image_encoder, self.camera_projection = image_encoder, camera_projection
        self.image_mean, self.image_std = image_mean, image_std
        self.absolute_elevation = absolute_elevation
        self.depth = depth
        self._answer = Recorded(unet, self._ask)
        self.requires_grad_(False).eval()

    @torch.no_grad()
    def encode_photo(self, photo: Tensor, elevation_deg: float) -> PhotoCondition:
        """Condition on a photo [3, H, W] in [0, 1] on white, taken from ``elevation_deg``."""
        photo = photo[None].to(self.device)
        tokens = image_tokens(self.image_encoder, self.clip_input(photo), self.camera_projection.num_tokens)
        pixels = (resize(photo, self.image_size) * 2 - 1).to(dtype_of(self.vae))
        return PhotoCondition(tokens, self.vae.encode(pixels).latent_dist.mode(), elevation_deg)

    def clip_input(self, pictures: Tensor) -> Tensor:
        """Pictures [B, 3, H, W] in [0, 1] as the image encoder wants them: its size, mean and deviation."""
        size = self.image_encoder.config.image_size
        if pictures.shape[-2:] != (size, size):
            pictures = F.interpolate(pictures, (size, size), mode="bicubic", align_corners=False, antialias=True)
            pictures = pictures.clamp(0, 1)
        mean = pictures.new_tensor(self.image_mean)[:, None, None]
        std = pictures.new_tensor(self.image_std)[:, None, None]
        return ((pictures - mean) / std).to(self.image_encoder.dtype)

    def pose(self, condition: PhotoCondition, azimuth_deg: Tensor, elevation_deg: Tensor) -> Tensor:
        """``[polar - polar_photo, sin Δaz, cos Δaz, Δr = 0]`` [N, 4]; polar angles fall as elevation grows."""
        pose = relative_pose(condition.elevation_deg, azimuth_deg, elevation_deg, self.absolute_elevation)
        return pose.to(self.device)

    def context(self, condition: PhotoCondition, pose: Tensor) -> Tensor:
        """Cross-attention tokens [N, T, D] for poses [N, 4]."""
        return self.camera_projection(condition.tokens.expand(len(pose), -1, -1), pose)

    @torch.no_grad()
    def predict(
        self, noisy: Tensor, timesteps: Tensor, condition: PhotoCondition, pose: Tensor, guidance_scale: float
    ) -> Tensor:
        """The guided prediction [N, 4, h, w] (eps or v) for noisy latents at timesteps [N] and poses [N, 4].

        Without guidance (scale 1) one pass; else a second with all conditions zeroed, tokens after the projection.
        """
        context = self.context(condition, pose)
        latents = condition.latents.expand(len(noisy), -1, -1, -1)
        if guidance_scale == 1.0:
            return self._unet(noisy, timesteps, latents, context, pose)
        asked = (torch.cat([each, each]) for each in (noisy, timesteps))
        told = (torch.cat([each, torch.zeros_like(each)]) for each in (latents, context, pose))
        conditional, unconditional = self._unet(*asked, *told).chunk(2)
        return unconditional + guidance_scale * (conditional - unconditional)

    def _unet(self, noisy: Tensor, timesteps: Tensor, latents: Tensor, context: Tensor, pose: Tensor) -> Tensor:
        dtype = dtype_of(self.unet)
        x = torch.cat([noisy.to(latents.dtype), latents], dim=1).to(dtype)
        return in_parts(self._answer, x, timesteps, context.to(dtype), pose).float()

    def _ask(self, x: Tensor, timesteps: Tensor, context: Tensor, pose: Tensor) -> Tensor:
        told = {"encoder_hidden_states": context, "class_labels": pose_labels(self.unet, pose)}
        answer: Tensor = self.unet(x, timesteps, **told).sample
        return answer

    @torch.no_grad()
    def sample(
        self,
        photo: Tensor,
        azimuth_deg: Tensor,
        elevation_deg: Tensor,
        *,
        photo_elevation_deg: float = 0.0,
        steps: int = 50,
        guidance_scale: float = 3.0,
        seed: int = 0,
    ) -> Tensor:
        """Pictures of the product from elsewhere, by DDIM.

        Args:
            photo: [3, H, W] in [0, 1], on white.
            azimuth_deg: [N], degrees from the photo's.
            elevation_deg: [N], degrees above the horizon.
            photo_elevation_deg: How high the photo's camera stood, degrees.
            steps: Of DDIM.
            guidance_scale: 1 asks the network once, more asks it twice.
            seed: Equal seeds give equal pictures.

        Returns:
            [N, 3, H, W] in [0, 1], at the prior's own size.
        """
        angles = (torch.as_tensor(each, dtype=torch.float32).reshape(-1) for each in (azimuth_deg, elevation_deg))
        azimuth, elevation = torch.broadcast_tensors(*angles)
        condition = self.encode_photo(photo, photo_elevation_deg)
        pose = self.pose(condition, azimuth, elevation)
        noise = torch.randn(len(pose), *condition.latents.shape[1:], generator=torch.Generator().manual_seed(seed))

        def predict(noisy: Tensor, timesteps: Tensor) -> Tensor:
            return self.predict(noisy, timesteps, condition, pose, guidance_scale)

        latents = denoise(self.schedule, noise.to(self.device), predict, steps)
        return decode_latents(self.vae, latents)


def image_tokens(encoder: CLIPVisionModelWithProjection, pixels: Tensor, num_tokens: int) -> Tensor:
    """What the U-Net attends to [B, T, D]: the pooled embedding (T = 1), or the projected patch tokens."""
    if num_tokens == 1:
        return encoder(pixels).image_embeds[:, None]
    hidden = encoder.vision_model(pixels).last_hidden_state[:, 1:]
    return encoder.visual_projection(encoder.vision_model.post_layernorm(hidden))


def pose_labels(unet: UNet2DConditionModel, pose: Tensor) -> Tensor | None:
    """The poses [B, 4] for a U-Net that also joins them to the timestep, as its config says; else nothing.

    The full-size models learn of the pose through their tokens alone.
    """
    return None if unet.class_embedding is None else pose.to(dtype_of(unet))


def relative_pose(
    photo_elevation_deg: float | Tensor, azimuth_deg: Tensor, elevation_deg: Tensor, absolute: bool = False
) -> Tensor:
    """Zero-1-to-3's pose vector [N, 4], radians; angles in degrees, azimuth relative to the photo's.

    Its first component is ``polar_target - polar_photo = elevation_photo - elevation_target``. Stable-Zero123
    (``absolute``) puts the photo's polar angle in the fourth, where Zero-1-to-3 has the change of distance.
    """
    photo = torch.as_tensor(photo_elevation_deg, dtype=torch.float32)
    azimuth = azimuth_deg.deg2rad()
    change = (photo - elevation_deg).deg2rad()
    last = (90 - photo).deg2rad().expand_as(change) if absolute else torch.zeros_like(change)
    return torch.stack([change, azimuth.sin(), azimuth.cos(), last], dim=-1)
