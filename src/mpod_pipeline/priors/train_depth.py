"""Training of the depth network, on the generator's true pictures and depths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.base.report import Report
from mpod_pipeline.priors.depth import DepthNetwork
from mpod_pipeline.priors.training import TrainingParameters, fit, mixed_precision, step_generator

#: It will see samples of a prior: blurred by up to so many pixels, with blots and grain of so much, in odd colours.
BLUR, BLOTS, GRAIN, TINT = 1.5, 0.12, 0.03, 0.15


@dataclass(frozen=True)
class DepthPictures:
    """N pictures with their depths."""

    pictures: NDArray[np.uint8]  # [N, H, W, 3] on white
    depth: NDArray[np.float16]  # [N, H, W], world units; 0 where there is nothing
    elevation_deg: NDArray[np.float32]  # [N]

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, index: NDArray[np.integer] | slice) -> DepthPictures:
        return DepthPictures(self.pictures[index], self.depth[index], self.elevation_deg[index])


def train_depth(
    network: DepthNetwork, data: DepthPictures, p: TrainingParameters, checkpoint: Path, report: Report, device: str
) -> DepthNetwork:
    """Train the network, which ends on the device."""
    network = network.to(device).to(memory_format=torch.channels_last)

    def loss_of_step(net: Any, step: int) -> Tensor:
        rng, _ = step_generator(p.seed, step)
        batch = data[rng.integers(0, len(data), p.batch_size)]
        pictures = blemished(to_tensor(batch.pictures), rng).to(device)
        with mixed_precision(pictures.device):
            depth, opacity = net(pictures, torch.from_numpy(batch.elevation_deg))
        return depth_loss(depth, opacity, torch.from_numpy(batch.depth.astype(np.float32)).to(device))

    fit(network, loss_of_step, p, checkpoint, report)
    return network


def depth_loss(depth: Tensor, opacity: Tensor, target: Tensor) -> Tensor:
    """Mean absolute errors of depth and of its differences between neighbours, where there is something; and whether
    there is. All [B, H, W].
    """
    there = (target > 0).float()
    error = (depth - target) * there
    edges = [
        (error.diff(dim=dim) * (there.narrow(dim, 1, n) * there.narrow(dim, 0, n))).abs().sum()
        for dim, n in ((1, target.shape[1] - 1), (2, target.shape[2] - 1))
    ]
    depths = (error.abs().sum() + 0.5 * (edges[0] + edges[1])) / there.sum().clamp_min(1)
    return depths + 0.1 * F.binary_cross_entropy_with_logits(opacity, there)


def blemished(pictures: Tensor, rng: np.random.Generator) -> Tensor:
    """Pictures [B, 3, H, W] as a prior might have sampled them."""
    count, _, height, width = pictures.shape
    normal = lambda *shape: torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))  # noqa: E731
    there = (pictures.amin(dim=1, keepdim=True) < 0.99).float()
    blots = F.interpolate(normal(count, 3, 8, 8), (height, width), mode="bicubic")
    amount = torch.from_numpy(rng.uniform(0, 1, (count, 1, 1, 1)).astype(np.float32)) ** 2
    tint = 1 + TINT * normal(count, 3, 1, 1)
    pictures = pictures * (1 - there) + there * (pictures * tint + amount * BLOTS * blots)
    sigma = float(rng.uniform(0.2, BLUR))
    offsets = torch.arange(-3, 4).float()
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, 1, -1)
    blurred = F.conv2d(F.pad(pictures, (3, 3, 3, 3), value=1.0), kernel, groups=3)
    blurred = F.conv2d(blurred, kernel.transpose(2, 3), groups=3)
    return (blurred + GRAIN * amount * normal(*pictures.shape)).clamp(0, 1)


def to_tensor(pictures: NDArray[np.uint8]) -> Tensor:
    """uint8 [N, H, W, 3] to float [N, 3, H, W] in [0, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float().contiguous() / 255
