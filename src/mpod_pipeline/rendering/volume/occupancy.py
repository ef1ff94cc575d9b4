"""Which cells of the world hold anything: empty ones are skipped by marching."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class OccupancyGrid(nn.Module):
    """resolution^3 cells over the box [-bound, bound]^3, each with a slowly forgetting maximum of density.

    A cell is occupied where that exceeds min(mean over all cells, threshold). All are occupied before the
    first update. Cells are indexed [x, y, z].

    threshold: density per world unit. decay: what a cell keeps at each update (Instant-NGP: 0.95).
    """

    density: Tensor  # [R, R, R]
    occupied: Tensor  # [R, R, R] bool

    def __init__(self, resolution: int, bound: float, threshold: float, decay: float = 0.95) -> None:
        super().__init__()
        self.resolution = resolution
        self.bound = bound
        self.threshold = threshold
        self.decay = decay
        self.register_buffer("density", torch.zeros((resolution,) * 3))
        self.register_buffer("occupied", torch.ones((resolution,) * 3, dtype=torch.bool))

    @torch.no_grad()
    def update(
        self,
        step: int,
        density: Callable[[Tensor], Tensor],
        *,
        every: int = 16,
        warmup: int = 256,
        generator: torch.Generator | None = None,
    ) -> None:
        """Look at the density (points [K, 3] -> [K]) again, at a random point of each cell looked at.

        Does something at every `every`-th step: for all cells during the first `warmup` steps, for a random
        half after. Random numbers are drawn on the grid's device, where there are millions of them.
        """
        if step % every:
            return
        n_cells, device = self.resolution**3, self.density.device
        generator = _on(device, generator)
        cells = torch.arange(n_cells, device=device)
        if step >= warmup:
            cells = torch.randperm(n_cells, generator=generator, device=device)[: n_cells // 2]
        seen = density(self._random_points(cells, generator))
        flat = self.density.view(-1)
        flat[cells] = torch.maximum(flat[cells] * self.decay, seen.to(flat.dtype))
        self.occupied.copy_(self.density > self.density.mean().clamp_max(self.threshold))

    def _random_points(self, cells: Tensor, generator: torch.Generator | None) -> Tensor:  # [K] -> [K, 3]
        offset = torch.rand(len(cells), 3, generator=generator, device=cells.device)
        corner = torch.stack(torch.unravel_index(cells, (self.resolution,) * 3), dim=-1)
        return ((corner + offset) / self.resolution * 2 - 1) * self.bound

    def contains(self, points: Tensor) -> Tensor:
        """Whether points [..., 3] lie in occupied cells, bool [...]. Points outside the box do not."""
        cell = ((points / self.bound + 1) / 2 * self.resolution).floor().long()
        inside = ((cell >= 0) & (cell < self.resolution)).all(dim=-1)
        x, y, z = cell.clamp(0, self.resolution - 1).unbind(-1)
        return self.occupied[x, y, z] & inside


def _on(device: torch.device, generator: torch.Generator | None) -> torch.Generator | None:
    """A generator of the device, seeded by one of the CPU's; on the CPU that one itself."""
    if generator is None or generator.device.type == device.type:
        return generator
    seed = int(torch.randint(2**62, (), generator=generator))
    return torch.Generator(device).manual_seed(seed)
