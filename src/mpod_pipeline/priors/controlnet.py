"""A ControlNet that is shown the outline's mask: the paper's ablation in place of MRCA (section 4.4, Fig. 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.priors.networks import dtype_of

#: Channels of the mask's first picture, doubled at each halving of its size.
WIDTH = 16


def make_mask_control(unet: UNet2DConditionModel, shrinks: int) -> ControlNetModel:
    """One that changes nothing yet, for a U-Net whose latents are so many times smaller than pictures (a power of 2)"""
    widths = tuple(WIDTH * 2**level for level in range(shrinks.bit_length()))
    return ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=widths)


@dataclass(frozen=True)
class MaskControl:
    """A ControlNet (Zhang et al. 2023; diffusers' own) and the picture that it is shown."""

    network: ControlNetModel
    picture: Tensor  # [B, 3, S, S] in [0, 1]: white inside the outline, black outside

    @classmethod
    def of(cls, network: ControlNetModel, mask: Tensor, size: int) -> MaskControl:
        """Show a mask [B, 1, H, W] (1 inside) at the prior's size in pixels."""
        picture = F.interpolate(mask, (size, size), mode="nearest").expand(-1, 3, -1, -1)
        return cls(network, picture.to(network.device, dtype_of(network)))

    def residuals(self, noisy: Tensor, timesteps: Tensor, context: Tensor) -> dict[str, Any]:
        """What the U-Net adds to its own features for noisy latents [nB, 4, h, w], by the names of its arguments.

        As in diffusers' pipelines, both halves of classifier-free guidance are controlled.
        """
        shown = self.picture.repeat(len(noisy) // len(self.picture), 1, 1, 1)
        dtype = dtype_of(self.network)
        down, middle = self.network(
            noisy.to(dtype), timesteps, context.to(dtype), controlnet_cond=shown, return_dict=False
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}
