"""How far away is what a picture shows? Our own small network, for pictures as our cameras take them, or transformers'.

As all pictures of ours have one distance and one field of view, our depths need neither scale nor shift: they are world
units. Those of other networks have any.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from diffusers import UNet2DModel
from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.base.errors import SetupError
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


class DepthEstimator(Protocol):
    """Guesses depths of pictures, larger is further, at any scale and shift. size: pixels a side of what it answers."""

    @property
    def size(self) -> int: ...

    def estimate(self, pictures: Tensor, elevation_deg: float) -> Tensor:
        """Of pictures [B, 3, H, W] in [0, 1] on white, taken from an elevation: [B, size, size]."""
        ...


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

    @torch.no_grad()
    def estimate(self, pictures: Tensor, elevation_deg: float) -> Tensor:
        device = next(self.unet.parameters()).device
        return self(pictures.to(device), torch.full((len(pictures),), elevation_deg, device=device))[0]


class DisparityNetwork:
    """A monocular depth network of transformers (DPT, MiDaS), which says the inverse of depth."""

    def __init__(self, network: nn.Module, processor: Any, size: int) -> None:
        self._network, self._processor, self.size = network, processor, size

    @torch.no_grad()
    def estimate(self, pictures: Tensor, elevation_deg: float) -> Tensor:
        mean, std = (pictures.new_tensor(each).view(-1, 1, 1) for each in self._statistics)
        parameter = next(self._network.parameters())
        seen = ((resize(pictures, self.size) - mean) / std).to(parameter)
        disparity = self._network(pixel_values=seen).predicted_depth.float()[:, None]
        low, high = disparity.amin(dim=(2, 3), keepdim=True), disparity.amax(dim=(2, 3), keepdim=True)
        return 1 - resize((disparity - low) / (high - low).clamp_min(1e-6), self.size)[:, 0]

    @property
    def _statistics(self) -> tuple[Any, Any]:
        return self._processor.image_mean, self._processor.image_std


def load_disparity_network(folder: Path, device: torch.device | str) -> DisparityNetwork:
    """From transformers' folder, such as that of ``Intel/dpt-beit-large-512``. Raises SetupError where it is missing or
    is none.
    """
    from transformers import AutoImageProcessor, AutoModelForDepthEstimation

    if not folder.is_dir():
        raise SetupError(f"There is no depth network at {folder}; set outline.depth_network to its folder.")
    try:
        network = AutoModelForDepthEstimation.from_pretrained(folder, local_files_only=True)
        processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise SetupError(f"The depth network at {folder} cannot be loaded: {error}") from error
    return DisparityNetwork(network.to(device).eval().requires_grad_(False), processor, int(processor.size["height"]))
