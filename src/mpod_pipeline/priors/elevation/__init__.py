"""How high above the product a photo's camera stood: a small network's answer to a cutout.

It is the first half of EfficientNet-Lite0 with ImageNet's weights, which went on to learn from renders of the
generator's products, by the node `train_elevation`. Its weights lie beside this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mpod_pipeline.priors.latents import resize

#: Pixels of the cutouts that it sees.
SIZE = 96
#: Of what it answers, degrees: it says no more than it has seen. So many elevations are weighed, evenly spread.
LOWEST, HIGHEST, ANSWERS = -10.0, 60.0, 35
EDGES = torch.linspace(LOWEST, HIGHEST, ANSWERS + 1)
CENTRES = (EDGES[1:] + EDGES[:-1]) / 2
WEIGHTS = "elevation.npz"
#: Degrees: from where most photos are taken, within how much, and how many of them.
USUAL, USUAL_SPREAD, USUAL_SHARE = 10.0, 8.0, 0.8
#: The stages of EfficientNet-Lite0 up to stride 16, and the channels of its stem and of the last of them.
STAGES, STEM, CHANNELS = 5, 32, 112


class ElevationNetwork(nn.Module):
    """Cutouts [B, 4, 96, 96], premultiplied and with their alpha, to logits of how likely each elevation is,
    [B, ANSWERS].

    backbone: timm's ``tf_efficientnet_lite0`` to start from; None where weights are loaded afterwards.
    """

    def __init__(self, backbone: nn.Module | None = None) -> None:
        super().__init__()
        import timm

        whole = backbone or timm.create_model("tf_efficientnet_lite0", pretrained=False)
        stem = nn.Conv2d(4, STEM, 3, 2, 1, bias=False)
        with torch.no_grad():  # alpha counts for nothing at first
            stem.weight.zero_()
            stem.weight[:, :3] = whole.get_parameter("conv_stem.weight")
        blocks = list(whole.get_submodule("blocks").children())[:STAGES]
        self.layers = nn.Sequential(stem, whole.get_submodule("bn1"), *blocks).requires_grad_(True)
        side = SIZE // 16
        self.head = nn.Sequential(
            *(nn.Conv2d(CHANNELS, 64, 1), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3)),
            *(nn.Linear(64 * side**2, 96), nn.ReLU(), nn.Linear(96, ANSWERS)),
        )

    def forward(self, cutouts: Tensor) -> Tensor:
        on_white = cutouts[:, :3] + 1 - cutouts[:, 3:]
        seen = torch.cat([on_white * 2 - 1, cutouts[:, 3:]], dim=1)
        answer: Tensor = self.head(self.layers(seen))
        return answer

    @torch.no_grad()
    def estimates(self, cutouts: NDArray[np.uint8]) -> Tensor:
        """The elevations in degrees of the cameras that took cutouts [B, S, S, 4], centred and framed: [B]."""
        seen = network_input(cutouts)
        likely = (self(seen).softmax(dim=1) + self(seen.flip(-1)).softmax(dim=1)) / 2
        return median(believed(likely))

    def estimate(self, cutout: NDArray[np.uint8]) -> float:
        """The elevation in degrees of the camera that took a cutout [S, S, 4]."""
        return float(self.estimates(cutout[None])[0])


def believed(likely: Tensor) -> Tensor:
    """How likely elevations are [B, ANSWERS], after the network, which was shown all of them equally often: most
    photos of products are taken from about `USUAL`, the others from anywhere.
    """
    usual = torch.exp(-((CENTRES - USUAL) ** 2) / (2 * USUAL_SPREAD**2))
    believed = likely * (USUAL_SHARE * usual / usual.sum() + (1 - USUAL_SHARE) / ANSWERS)
    return believed / believed.sum(dim=1, keepdim=True)


def median(likely: Tensor) -> Tensor:
    """The elevation in degrees that the camera's is above as likely as below, [B], of probabilities [B, ANSWERS]:
    what is wrong by least in the mean.
    """
    below = torch.nn.functional.pad(likely.cumsum(dim=1), (1, 0))
    answer = (below[:, 1:] < 0.5).sum(dim=1, keepdim=True).clamp(max=ANSWERS - 1)
    into = (0.5 - below.gather(1, answer)) / likely.gather(1, answer).clamp_min(1e-9)
    return (EDGES[answer] + into.clamp(0, 1) * (EDGES[1] - EDGES[0]))[:, 0]


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
    network.load_state_dict({name: torch.from_numpy(array).float() for name, array in weights.items()})
    return network.eval()
