"""Volume rendering in plain PyTorch: the definition that the makers are tested and timed against."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.rendering.volume.interface import RaySamples, VolumeRender, box_intersection, mean_depth
from mpod_pipeline.rendering.volume.occupancy import OccupancyGrid


class ReferenceRenderer:
    """Readable and slow; any device and any float type. Memory grows with rays times the longest ray."""

    @torch.no_grad()
    def march(
        self,
        rays_o: Tensor,
        rays_d: Tensor,
        occupancy: OccupancyGrid,
        step_size: float,
        jitter: Tensor | None = None,
    ) -> RaySamples:
        entry, leave = box_intersection(rays_o, rays_d, occupancy.bound)
        fraction = torch.full_like(entry, 0.5) if jitter is None else jitter
        n_steps = int(((leave - entry).clamp_min(0) / step_size).ceil().max()) if len(entry) else 0
        steps = torch.arange(n_steps, device=entry.device)
        middle = entry[:, None] + (steps + fraction[:, None]) * step_size  # [N, S]
        points = rays_o[:, None] + middle[..., None] * rays_d[:, None]
        kept = occupancy.contains(points) & (middle < leave[:, None])
        ray_index = kept.nonzero()[:, 0]
        offsets = torch.cat([kept.new_zeros(1, dtype=torch.long), kept.sum(dim=1).cumsum(dim=0)])
        return RaySamples(ray_index, middle[kept] - step_size / 2, middle[kept] + step_size / 2, offsets)

    def composite(self, density: Tensor, colour: Tensor, samples: RaySamples) -> VolumeRender:
        optical_depth = density * (samples.t_end - samples.t_start)
        before = optical_depth.cumsum(dim=0) - optical_depth  # over all rays so far
        first = samples.ray_offsets[samples.ray_index]
        transmittance = torch.exp(before[first] - before)
        weights = transmittance * -torch.expm1(-optical_depth)
        middle = (samples.t_start + samples.t_end) / 2
        opacity = _sum_by_ray(weights, samples)
        return VolumeRender(
            colour=_sum_by_ray(weights[:, None] * colour, samples),
            opacity=opacity,
            depth=mean_depth(_sum_by_ray(weights * middle, samples), opacity),
            weights=weights,
        )


def _sum_by_ray(values: Tensor, samples: RaySamples) -> Tensor:  # [M, ...] -> [N, ...]
    return values.new_zeros(samples.n_rays, *values.shape[1:]).index_add(0, samples.ray_index, values)
