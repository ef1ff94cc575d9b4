"""The small network on a CUDA device: tiny-cuda-nn's fully fused one.

Written against ``tinycudann.Network(n_input_dims, n_output_dims, network_config, seed=1337)`` of
``bindings/torch/tinycudann/modules.py`` in NVlabs/tiny-cuda-nn at commit 07bacc5: ``forward(x)`` takes float32 [N, I]
on the device and gives half precision [N, O]. ``params`` is flat: the matrices in the order of the layers, row by row,
each [outputs, inputs] (``src/fully_fused_mlp.cu`` at 087d07c), with outputs filled up to a multiple of 16, and inputs
too, by constant ones (``include/tiny-cuda-nn/encodings/identity.h``).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.errors import SetupError
from mpod_pipeline.fields.mlp.interface import MLP, initial_matrices
from mpod_pipeline.fields.tinycudann_package import load_tinycudann

#: What the fully fused kernels are compiled for.
WIDTHS = (16, 32, 64, 128)
#: Inputs and outputs are filled up to a multiple of this, the edge of a tensor core's tile.
TILE = 16


class TinyCudaMLP(MLP):
    """The GPU's maker. Half precision inside; the matrices themselves are float32."""

    def __init__(self, inputs: int, outputs: int, width: int, seed: int = 0) -> None:
        super().__init__()
        tinycudann = load_tinycudann("field's network")
        if width not in WIDTHS:
            raise SetupError(
                f"With the maker 'cuda' the field's mlp_width must be one of {WIDTHS}, and is {width}."
            )
        self.inputs, self.outputs, self.width = inputs, outputs, width
        #: Filled up here rather than by the package: a single one is the bias, and the rest are to do nothing.
        self.filled = -(-(inputs + 1) // TILE) * TILE
        config = {
            "otype": "FullyFusedMLP",
            "activation": "ReLU",
            "output_activation": "None",
            "n_neurons": width,
            "n_hidden_layers": 1,
        }
        self.network = tinycudann.Network(self.filled, outputs, config, seed=seed)
        with torch.no_grad():
            self.network.params.zero_()
            for own, initial in zip(
                (self.hidden, self.output), initial_matrices(inputs, outputs, width, seed), strict=True
            ):
                own.copy_(initial)

    @property
    def hidden(self) -> Tensor:
        params: Tensor = self.network.params
        return params[: self.width * self.filled].view(self.width, self.filled)[:, : self.inputs + 1]

    @property
    def output(self) -> Tensor:
        params: Tensor = self.network.params
        return params[self.width * self.filled :].view(-1, self.width)[: self.outputs]

    def forward(self, inputs: Tensor) -> Tensor:  # [N, I] -> [N, O]
        if len(inputs) == 0:  # its kernels are not launched on nothing
            return inputs.new_zeros(0, self.outputs)
        with_one = F.pad(inputs, (0, 1), value=1.0)
        outputs: Tensor = self.network(F.pad(with_one, (0, self.filled - self.inputs - 1)))
        return outputs.float()
