"""The field's small networks, in plain PyTorch on every device.

y = output · relu(hidden · [x, 1]): one hidden layer, whose only bias is the constant input.
"""

from __future__ import annotations

from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MLP(nn.Module):
    """A network from I inputs to O outputs, in float32: half precision would leave too few digits for differences
    between near points, and loses small gradients.
    """

    def __init__(self, inputs: int, outputs: int, width: int, seed: int = 0) -> None:
        """The matrices start uniform within one over the root of their inputs."""
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        hidden = torch.empty(width, inputs + 1).uniform_(-1, 1, generator=generator) / sqrt(inputs)
        output = torch.empty(outputs, width).uniform_(-1, 1, generator=generator) / sqrt(width)
        self.hidden = nn.Parameter(hidden)  # [width, I + 1]; the last column multiplies the constant one
        self.output = nn.Parameter(output)  # [O, width]

    def forward(self, inputs: Tensor) -> Tensor:
        """Of inputs [N, I] the outputs [N, O]."""
        return F.linear(F.linear(inputs, self.hidden[:, :-1], self.hidden[:, -1]).relu(), self.output)

    def reading(self, columns: Tensor, of: int) -> Tensor:
        """The hidden matrix [width, of + 1] for wider inputs [N, of], of which it reads the columns [I] alone."""
        wide = self.hidden.new_zeros(len(self.hidden), of + 1)
        return wide.index_copy(1, torch.cat([columns, columns.new_tensor([of])]), self.hidden)


def side_by_side(inputs: Tensor, networks: list[tuple[Tensor, Tensor]]) -> Tensor:
    """What networks (hidden, output) of the same inputs [N, I] answer, joined: [N, sum of O].

    One product of matrices for all of them: in a step's many points, slices and copies cost more than zeros.
    """
    hidden = torch.cat([hidden for hidden, _ in networks])
    outputs = torch.block_diag(*(output for _, output in networks))
    return F.linear(F.linear(inputs, hidden[:, :-1], hidden[:, -1]).relu(), outputs)
