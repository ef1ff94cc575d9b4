"""A product as points, and the network that draws them: Make-It-3D's textured cloud and deferred renderer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.points import splat

#: Filters of the network at each scale; each scale is half of that before.
FILTERS = (16, 32, 64)


class GatedConvolution(nn.Module):
    """A convolution 3 x 3 that also says how much of itself counts where: some of what it reads is holes."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.both = nn.Conv2d(inputs, 2 * outputs, 3, padding=1)

    def forward(self, pictures: Tensor) -> Tensor:
        value, gate = self.both(pictures).chunk(2, dim=1)
        return F.elu(value) * gate.sigmoid()


class DeferredRenderer(nn.Module):
    """A U-Net from what points carry, splatted at as many scales as `FILTERS`, to a change of the picture's colours.

    The change is nothing at the start.
    """

    def __init__(self, inputs: int, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            below = (0, *FILTERS[:-1])
            self.down = nn.ModuleList(
                GatedConvolution(inputs + finer, filters) for finer, filters in zip(below, FILTERS, strict=True)
            )
            self.up = nn.ModuleList(
                GatedConvolution(coarser + filters, filters)
                for filters, coarser in zip(FILTERS[-2::-1], FILTERS[:0:-1], strict=True)
            )
            self.change = nn.Conv2d(FILTERS[0], 3, 1)
        for parameter in self.change.parameters():
            nn.init.zeros_(parameter)

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        """scales: [B, C, R, R], [B, C, R / 2, R / 2], ... Gives [B, 3, R, R]."""
        kept: list[Tensor] = []
        for layer, splatted in zip(self.down, scales, strict=True):
            inputs = torch.cat([splatted, F.avg_pool2d(kept[-1], 2)], dim=1) if kept else splatted
            kept.append(layer(inputs))
        made = kept.pop()
        for layer in self.up:
            made = layer(torch.cat([doubled(made), kept.pop()], dim=1))
        change: Tensor = self.change(made)
        return change


class PointCloud(nn.Module):
    """N points at fixed positions, with a colour and features each, and the network that was learnt with them."""

    positions: Tensor
    resolution: Tensor

    def __init__(
        self, positions: Tensor, colours: Tensor, resolution: int, features: int = 16, *, seed: int = 0
    ) -> None:
        """positions: [N, 3], world units. colours: [N, 3] in [0, 1]. resolution: of the pictures that it draws, pixels
        a side, a multiple of 4.
        """
        super().__init__()
        self.register_buffer("positions", positions)
        self.register_buffer("resolution", torch.tensor(resolution))
        self.colours = nn.Parameter(colours.clone())
        self.features = nn.Parameter(colours.new_zeros(len(colours), features))
        self.renderer = DeferredRenderer(3 + features + 1, seed)
        self.to(positions.device)

    def forward(self, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Pictures on white [B, R, R, 3] and where they show the product, [B, R, R]. Differentiable to all but that.

        What the points' colours show, its holes filled from coarser scales, and the network's change of it.
        """
        sizes = [int(self.resolution) >> scale for scale in range(len(FILTERS))]
        splats = [splat(self.positions, cameras, size) for size in sizes]
        carried = torch.cat([self.colours, self.features, torch.ones_like(self.colours[:, :1])], dim=1)
        scales = [each.of(carried).permute(0, 3, 1, 2) for each in splats]
        covered = splats[0].covered[:, None].to(carried.dtype)
        near = F.max_pool2d(covered, 3, 1, 1)  # the rim is the network's to soften
        pictures = filled(scales) * covered + 1 - covered + near * self.renderer(scales)
        return pictures.clamp(0, 1).permute(0, 2, 3, 1), covered[:, 0]

    @torch.no_grad()
    def seen_by(self, cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor]:
        """Pictures on white [B, S, S, 3] and opacities [B, S, S], on the CPU; drawn as learnt, and resized."""
        drawn = [self(camera) for camera in cameras]
        pictures, opacity = (torch.cat(each).cpu() for each in zip(*drawn, strict=True))
        both = torch.cat([pictures, opacity[..., None]], dim=-1).permute(0, 3, 1, 2)
        resized = F.interpolate(both, (resolution, resolution), mode="bilinear", antialias=True).permute(0, 2, 3, 1)
        return resized[..., :3], resized[..., 3]

    @classmethod
    def of_state(cls, state: Mapping[str, Tensor]) -> PointCloud:
        """The one that has this ``state_dict``. Raises KeyError or RuntimeError for what is none."""
        colours, features = state["colours"], state["features"]
        cloud = cls(state["positions"], colours, int(state["resolution"]), features.shape[1])
        cloud.load_state_dict(state)
        return cloud


def doubled(pictures: Tensor) -> Tensor:
    return F.interpolate(pictures, scale_factor=2, mode="bilinear")


def filled(scales: Sequence[Tensor]) -> Tensor:
    """Colours [B, 3, R, R] of what was splatted at several scales, the first R: colours first, opacity last. A finer
    scale lies over a coarser one.
    """
    over, *finer = [torch.cat([each[:, :3], each[:, -1:]], dim=1) for each in reversed(scales)]
    for each in finer:
        over = each + (1 - each[:, 3:]) * doubled(over)
    return over[:, :3] / over[:, 3:].clamp_min(1e-3)
