"""Volume rendering in plain PyTorch, on any device and in any float type.

What waits for the device, since sizes depend on the data: once in marching, for the number of samples, and once in
compositing, for the longest ray.
"""

from __future__ import annotations

from math import ceil, sqrt

import torch
from torch import Tensor

from mpod_pipeline.rendering.volume.interface import RaySamples, VolumeRender, box_intersection, mean_depth
from mpod_pipeline.rendering.volume.occupancy import OccupancyGrid

#: Points of rays that are looked up at a time, occupied or not: some 80 bytes each.
POINTS_AT_ONCE = 1 << 22


class TorchRenderer:
    """Plain PyTorch. Marching keeps one byte for each step of a ray through the box's diagonal."""

    @torch.no_grad()
    def march(
        self, rays_o: Tensor, rays_d: Tensor, occupancy: OccupancyGrid, step_size: float, jitter: Tensor | None = None
    ) -> RaySamples:
        entry, leave = box_intersection(rays_o, rays_d, occupancy.bound)
        first = entry + (0.5 if jitter is None else jitter) * step_size
        # No ray is longer in the box than its diagonal: so the longest need not be asked for.
        steps = torch.arange(ceil(2 * sqrt(3) * occupancy.bound / step_size), device=entry.device)

        def kept(rays: slice) -> Tensor:
            middle = first[rays, None] + steps * step_size  # [N, S]
            points = torch.addcmul(rays_o[rays, None], middle[..., None], rays_d[rays, None])
            return occupancy.contains(points) & (middle < leave[rays, None])

        at_once = max(1, POINTS_AT_ONCE // len(steps))
        marks = [kept(slice(start, start + at_once)) for start in range(0, max(1, len(entry)), at_once)]
        ray_index, step = torch.cat(marks).nonzero().unbind(dim=1)
        counts = torch.cat([mark.sum(dim=1) for mark in marks])
        middle = first[ray_index] + step * step_size
        offsets = torch.cat([counts.new_zeros(1), counts.cumsum(dim=0)])
        return RaySamples(ray_index, middle - step_size / 2, middle + step_size / 2, offsets)

    def composite(self, density: Tensor, colour: Tensor, samples: RaySamples) -> VolumeRender:
        optical_depth = density * (samples.t_end - samples.t_start)
        weights = torch.exp(-_sum_before(optical_depth, samples)) * -torch.expm1(-optical_depth)
        middle = (samples.t_start + samples.t_end) / 2
        opacity = _sum_by_ray(weights, samples)
        return VolumeRender(
            colour=_sum_by_ray(weights[:, None] * colour, samples),
            opacity=opacity,
            depth=mean_depth(_sum_by_ray(weights * middle, samples), opacity),
            weights=weights,
        )


def _sum_before(values: Tensor, samples: RaySamples) -> Tensor:
    """The sum over the samples before each on its ray: [M] -> [M].

    Ray by ray: one running sum over all would have few digits left for the last rays.
    """
    if len(samples) == 0:
        return values
    longest = int(samples.ray_offsets.diff().max())
    place = torch.arange(len(values), device=values.device) - samples.ray_offsets[samples.ray_index]
    rows = values.new_zeros(samples.n_rays, longest + 1)
    rows = rows.index_put((samples.ray_index, place + 1), values)
    return rows.cumsum(dim=1)[samples.ray_index, place]


def _sum_by_ray(values: Tensor, samples: RaySamples) -> Tensor:  # [M, ...] -> [N, ...]
    return values.new_zeros(samples.n_rays, *values.shape[1:]).index_add(0, samples.ray_index, values)
