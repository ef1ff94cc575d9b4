"""The small network on a CPU: PyTorch's own products, in float32."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.fields.mlp.interface import MLP, initial_matrices


class TorchMLP(MLP):
    """The CPU's maker. float32: bfloat16 would leave too few digits for differences between near points."""

    def __init__(self, inputs: int, outputs: int, width: int, seed: int = 0) -> None:
        super().__init__()
        hidden, output = initial_matrices(inputs, outputs, width, seed)
        self._hidden, self._output = nn.Parameter(hidden), nn.Parameter(output)

    @property
    def hidden(self) -> Tensor:
        return self._hidden

    @property
    def output(self) -> Tensor:
        return self._output

    def forward(self, inputs: Tensor) -> Tensor:  # [N, I] -> [N, O]
        return F.linear(F.linear(inputs, self._hidden[:, :-1], self._hidden[:, -1]).relu(), self._output)
