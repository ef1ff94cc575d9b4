"""How far away is what a picture shows? Our own small network, for pictures as our cameras take them.

As all of them have one distance and one field of view, depths need neither scale nor shift: they are world units.
"""

from __future__ import annotations

from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.priors.latents import resize
from mpod_pipeline.priors.networks import dtype_of
from mpod_pipeline.rendering.cameras import DISTANCE

#: The part of a novel-view prior's folder in which it lies.
DEPTH = "depth"
#: Pixels of a patch's side, folded into channels: a depth map is rough, and convolutions at full size are dear.
FOLD = 4
COLOURS, OUTPUTS = 3, 2


def make_depth_unet(size: int = 64, channels: tuple[int, ...] = (64, 96, 128)) -> UNet2DModel:
    """size: pixels of the pictures that it sees."""
    levels = len(channels)
    return UNet2DModel(
        sample_size=size // FOLD,
        in_channels=COLOURS * FOLD**2,
        out_channels=OUTPUTS * FOLD**2,
        down_block_types=("DownBlock2D",) * (levels - 1) + ("AttnDownBlock2D",),
        up_block_types=("AttnUpBlock2D",) + ("UpBlock2D",) * (levels - 1),
        block_out_channels=channels,
        layers_per_block=1,
        norm_num_groups=8,
        attention_head_dim=32,
    )


class DepthNetwork(nn.Module):
    """unet: of `make_depth_unet`. What it has for a timestep is the camera's elevation in degrees."""

    def __init__(self, unet: UNet2DModel) -> None:
        super().__init__()
        self.unet = unet

    @property
    def size(self) -> int:
        """Pixels a side of the pictures that it sees, and of its depth maps."""
        return int(self.unet.config.sample_size) * FOLD

    def forward(self, pictures: Tensor, elevation_deg: Tensor) -> tuple[Tensor, Tensor]:
        """Of pictures [B, 3, H, W] in [0, 1] on white, taken from elevations [B]: depth along the viewing direction,
        and the logit of there being anything, [B, size, size] each.
        """
        folded = F.pixel_unshuffle(resize(pictures, self.size) * 2 - 1, FOLD).to(dtype_of(self.unet))
        out = F.pixel_shuffle(self.unet(folded, elevation_deg.to(folded.device)).sample, FOLD).float()
        return DISTANCE + out[:, 0], out[:, 1]
