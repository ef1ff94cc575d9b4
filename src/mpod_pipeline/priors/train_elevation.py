"""Training of the network that tells a camera's height."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.base.report import Report
from mpod_pipeline.priors.elevation import CENTRES, ElevationNetwork, network_input

#: Degrees: how far a neighbouring elevation counts as right, too.
NEAR = 2.0


class ElevationTraining(Parameters):
    """AdamW under a cosine; all pictures are gone through so many times."""

    epochs: PositiveInt = 2
    batch_size: PositiveInt = 64
    learning_rate: PositiveFloat = 1e-3
    weight_decay: PositiveFloat = 0.02
    seed: int = 0


def train_elevation(
    backbone: nn.Module, cutouts: NDArray[np.uint8], elevation_deg: Tensor, p: ElevationTraining, report: Report
) -> ElevationNetwork:
    """A network that has learnt to tell the elevations [N] of cutouts [N, S, S, 4], straight alpha.

    backbone: timm's EfficientNet-Lite0, whose first stages are trained in place.
    """
    generator = torch.Generator().manual_seed(p.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(p.seed)
        network = ElevationNetwork(backbone).to(memory_format=torch.channels_last).train()
        steps = p.epochs * (len(cutouts) // p.batch_size)
        optimizer = torch.optim.AdamW(network.parameters(), lr=p.learning_rate, weight_decay=p.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, p.learning_rate, total_steps=steps, pct_start=0.1)
        for step in range(steps):
            chosen = torch.randint(len(cutouts), (p.batch_size,), generator=generator)
            pictures = varied(network_input(cutouts[chosen.numpy()]), generator)
            seen = network(pictures.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(seen, nearly(elevation_deg[chosen]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            report(step + 1, steps, {"loss": float(loss.detach())})
    return network.eval()


def nearly(elevation_deg: Tensor) -> Tensor:
    """How right each answer is for elevations [B]: [B, ANSWERS], 1 in sum."""
    return (-((CENTRES - elevation_deg[:, None]) ** 2) / (2 * NEAR**2)).softmax(dim=1)


def varied(cutouts: Tensor, generator: torch.Generator) -> Tensor:
    """Cutouts [B, 4, S, S] in other colours and light, some mirrored, each a little larger or smaller and aside."""
    count = len(cutouts)
    mirrored = torch.rand(count, generator=generator) < 0.5
    cutouts = torch.where(mirrored[:, None, None, None], cutouts.flip(-1), cutouts)
    channels = torch.stack([torch.randperm(3, generator=generator) for _ in range(count)])
    rgb = cutouts[:, :3].gather(1, channels[:, :, None, None].expand_as(cutouts[:, :3]))
    gain = 0.6 + 0.8 * torch.rand(count, 3, 1, 1, generator=generator)
    cutouts = torch.cat([(rgb * gain).clamp(max=1) * (cutouts[:, 3:] > 0), cutouts[:, 3:]], dim=1)
    frame = torch.zeros(count, 2, 3)
    scale = 1 + 0.12 * (torch.rand(count, generator=generator) - 0.5)
    frame[:, 0, 0] = frame[:, 1, 1] = scale
    frame[:, :, 2] = 0.08 * (torch.rand(count, 2, generator=generator) - 0.5)
    grid = F.affine_grid(frame, list(cutouts.shape), align_corners=False)
    return F.grid_sample(cutouts, grid, align_corners=False)
