"""The hash encoding in plain PyTorch: the definition that the makers are tested and timed against."""

from __future__ import annotations

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
        corners = torch.cartesian_prod(*[torch.arange(2, device=points.device)] * 3)  # [8, 3]
        scale = torch.from_numpy(self.layout.scale).to(points)
        position = points.clamp(0, 1)[:, None] * scale[:, None] + 0.5  # [N, L, 3]
        cell = position.detach().floor().long()
        fraction = (position - cell)[:, :, None]  # [N, L, 1, 3]
        weight = torch.where(corners == 1, fraction, 1 - fraction).prod(dim=-1)  # [N, L, 8]
        features = self.table[self._entry(cell[:, :, None] + corners)]  # [N, L, 8, F]
        return (weight[..., None] * features).sum(dim=2).flatten(start_dim=1)

    def _entry(self, vertex: Tensor) -> Tensor:  # [N, L, 8, 3] -> [N, L, 8]
        offset, resolution = (
            torch.from_numpy(numbers).to(vertex)[:, None]
            for numbers in (self.layout.offset, self.layout.resolution)
        )
        first, size = offset[:-1], offset.diff(dim=0)
        x, y, z = vertex.unbind(-1)
        dense = x + y * resolution + z * resolution**2
        hashed = (x * HASH_PRIMES[0]) ^ (y * HASH_PRIMES[1]) ^ (z * HASH_PRIMES[2])
        return first + torch.where(resolution**3 <= size, dense, hashed) % size
