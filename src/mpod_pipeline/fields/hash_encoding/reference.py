"""The hash encoding in plain PyTorch: the definition that the makers are tested and timed against."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor, nn

from mpod_pipeline.fields.hash_encoding.interface import (
    HASH_PRIMES,
    HashEncoding,
    HashGridLayout,
    HashGridParameters,
    initial_table,
)


class ReferenceHashEncoding(HashEncoding):
    """Readable and slow; any device and any float type (float64 for gradient checks)."""

    def __init__(self, parameters: HashGridParameters, seed: int = 0) -> None:
        super().__init__()
        self.layout = HashGridLayout.of(parameters)
        self.output_dim = parameters.output_dim
        self.table = nn.Parameter(initial_table(parameters, seed))

    def forward(self, points: Tensor) -> Tensor:  # [N, 3] -> [N, output_dim]
        points = points.clamp(0, 1)
        levels = range(len(self.layout.scale))
        return torch.cat([self._level(points, level) for level in levels], dim=-1)

    def _level(self, points: Tensor, level: int) -> Tensor:
        position = points * float(self.layout.scale[level]) + 0.5
        cell = position.detach().floor().long()  # [N, 3]
        fraction = position - cell
        features = torch.zeros((), dtype=points.dtype, device=points.device)
        for corner in product((0, 1), repeat=3):
            step = torch.tensor(corner, device=points.device)
            weight = torch.where(step.bool(), fraction, 1 - fraction).prod(dim=-1)  # [N]
            features = features + weight[:, None] * self.table[self._entry(cell + step, level)]
        return features

    def _entry(self, vertex: Tensor, level: int) -> Tensor:  # [N, 3] -> [N]
        first, end = int(self.layout.offset[level]), int(self.layout.offset[level + 1])
        resolution = int(self.layout.resolution[level])
        x, y, z = vertex.unbind(-1)
        if self.layout.is_dense(level):
            index = x + y * resolution + z * resolution**2
        else:
            index = (x * HASH_PRIMES[0]) ^ (y * HASH_PRIMES[1]) ^ (z * HASH_PRIMES[2])
        return first + index % (end - first)
