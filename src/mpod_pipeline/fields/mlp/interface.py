"""The field's small networks: what every maker of them provides.

y = output · relu(hidden · [x, 1]): one hidden layer, whose only bias is the constant input, since tiny-cuda-nn's
networks have none. The matrices mean the same function with every maker.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import sqrt

import torch
from torch import Tensor, nn


class MLP(nn.Module, ABC):
    """A network from I inputs to O outputs. Its matrices are views of the module's own memory, to read and fill."""

    @property
    @abstractmethod
    def hidden(self) -> Tensor:
        """[width, I + 1]; the last column multiplies the constant one."""

    @property
    @abstractmethod
    def output(self) -> Tensor:
        """[O, width]"""

    @abstractmethod
    def forward(self, inputs: Tensor) -> Tensor:
        """Of inputs [N, I] the outputs, float32 [N, O]. Differentiable once, to inputs and matrices."""


def initial_matrices(inputs: int, outputs: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    """The matrices that training starts from, uniform within one over the root of their inputs: hidden, output."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.empty(width, inputs + 1).uniform_(-1, 1, generator=generator) / sqrt(inputs)
    output = torch.empty(outputs, width).uniform_(-1, 1, generator=generator) / sqrt(width)
    return hidden, output
