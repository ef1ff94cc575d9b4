"""How high above the product a photo's camera stood: a small network's answer to a cutout.

It was trained on renders of the generator's products from all round, by the node `train_elevation`; its weights lie
beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import as_file, files
from math import exp, pi, sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpod_pipeline.priors.latents import resize

#: Pixels of the cutouts that it sees.
SIZE = 64
#: Of what it answers, degrees: it says no more than it has seen.
LOWEST, HIGHEST = -10.0, 60.0
MIDDLE, SPREAD = (HIGHEST + LOWEST) / 2, (HIGHEST - LOWEST) / 2
WEIGHTS = "elevation.npz"
#: Degrees: from where most photos are taken, within how much, and how many of them. And the network's error.
USUAL, USUAL_SPREAD, USUAL_SHARE = 10.0, 8.0, 0.8
ERROR = 7.0


class ElevationNetwork(nn.Module):
    """Cutouts [B, 4, 64, 64], premultiplied and with their alpha, to elevations [B] in degrees."""

    def __init__(self, widths: Sequence[int] = (32, 64, 96, 128)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in zip((4, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, width, 3, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3), nn.Linear(16 * widths[-1], 96), nn.ReLU())
        self.head = nn.Linear(96, 1)

    def forward(self, cutouts: Tensor) -> Tensor:
        answer: Tensor = MIDDLE + SPREAD * torch.tanh(self.head(self.layers(cutouts)))[:, 0]
        return answer

    @torch.no_grad()
    def estimate(self, cutout: NDArray[np.uint8]) -> float:
        """The elevation in degrees of the camera that took a cutout [S, S, 4], centred and framed."""
        return expected(float(self(network_input(cutout[None]))[0]))


def expected(answer: float) -> float:
    """The mean of what the elevation may be, degrees, after the network's answer, which is wrong by `ERROR`: most
    photos of products are taken from about `USUAL`, the others from anywhere.
    """
    off, spread = answer - USUAL, USUAL_SPREAD**2 + ERROR**2
    usual = USUAL_SHARE * exp(-(off**2) / (2 * spread)) / sqrt(2 * pi * spread)
    anywhere = (1 - USUAL_SHARE) / (HIGHEST - LOWEST)
    believed = usual / (usual + anywhere)
    return USUAL + off * (1 - believed * ERROR**2 / spread)


def network_input(cutouts: NDArray[np.uint8]) -> Tensor:
    """Cutouts [B, S, S, 4], straight alpha, as the network sees them."""
    rgba = torch.from_numpy(cutouts).permute(0, 3, 1, 2).float() / 255
    return resize(torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1), SIZE)


@cache
def load_elevation_network() -> ElevationNetwork:
    """The shipped network."""
    with as_file(files(__package__) / WEIGHTS) as path, np.load(path, allow_pickle=False) as weights:
        return network_of(dict(weights))


def network_of(weights: Mapping[str, NDArray[np.float16]]) -> ElevationNetwork:
    """The network with these weights by name."""
    network = ElevationNetwork()
    network.load_state_dict({name: torch.from_numpy(array).float() for name, array in weights.items()}, strict=False)
    return network.eval()
