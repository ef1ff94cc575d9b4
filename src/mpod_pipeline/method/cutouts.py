"""A cutout as the optimisations see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.priors.latents import resize


@dataclass(frozen=True)
class Reference:
    """The photo's view at one resolution."""

    picture: Tensor  # [3, R, R] in [0, 1], on white
    mask: Tensor  # [R, R] in [0, 1]


def reference_view(cutout: NDArray[np.uint8], resolution: int) -> Reference:
    """A cutout [S, S, 4] (straight alpha) on white at ``resolution``; resampled premultiplied, so without halos."""
    rgba = torch.from_numpy(cutout.astype(np.float32) / 255).permute(2, 0, 1)[None]
    premultiplied = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
    small = resize(premultiplied, resolution)[0].clamp(0, 1)
    return Reference((small[:3] + 1 - small[3]).clamp(0, 1), small[3])
