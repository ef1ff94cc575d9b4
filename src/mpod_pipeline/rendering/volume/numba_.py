"""Volume rendering on a CPU: Numba kernels over memory shared with torch."""

# mypy: allow-untyped-defs, allow-incomplete-defs
# Numba infers the kernels' types.

from __future__ import annotations

from functools import partial
from math import ceil
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mpod_pipeline.base.compiled import njit
from mpod_pipeline.base.threads import share_out
from mpod_pipeline.rendering.volume.interface import RaySamples, VolumeRender, box_intersection, mean_depth
from mpod_pipeline.rendering.volume.occupancy import OccupancyGrid

# No "nnan" and "ninf": a NaN in a field must come out as a NaN in its picture.
_JIT: dict[str, Any] = {"cache": True, "nogil": True, "fastmath": {"contract", "reassoc", "nsz", "arcp"}}

# Rays of one task: enough to be worth a thread, few enough that empty and full ones even out.
_RAYS_AT_ONCE = 2048

_ZERO, _ONE = np.float32(0), np.float32(1)


@njit(inline="always", **_JIT)
def _is_occupied(origin, direction, t, occupied, bound):
    edge = occupied.shape[0]
    scale = np.float32(edge) / (np.float32(2) * bound)
    x = np.int64(np.floor((origin[0] + t * direction[0] + bound) * scale))
    y = np.int64(np.floor((origin[1] + t * direction[1] + bound) * scale))
    z = np.int64(np.floor((origin[2] + t * direction[2] + bound) * scale))
    inside = 0 <= x < edge and 0 <= y < edge and 0 <= z < edge
    return inside and occupied[x, y, z]


@njit(**_JIT)
def _mark(rays_o, rays_d, first, leave, occupied, bound, step_size, marks, counts, ray_from, ray_to):
    for ray in range(ray_from, ray_to):
        n_samples = 0
        for step in range(marks.shape[1]):
            t = first[ray] + np.float32(step) * step_size
            marks[ray, step] = t < leave[ray] and _is_occupied(rays_o[ray], rays_d[ray], t, occupied, bound)
            n_samples += marks[ray, step]
        counts[ray] = n_samples


@njit(**_JIT)
def _fill(marks, first, step_size, offsets, ray_index, t_start, t_end, ray_from, ray_to):
    half = step_size / np.float32(2)
    for ray in range(ray_from, ray_to):
        sample = offsets[ray]
        for step in range(marks.shape[1]):
            if marks[ray, step]:
                t = first[ray] + np.float32(step) * step_size
                ray_index[sample] = ray
                t_start[sample] = t - half
                t_end[sample] = t + half
                sample += 1


@njit(**_JIT)
def _composite(
    density, colour, t_start, t_end, offsets, weights, after, out_colour, out_opacity, out_distance, ray_from, ray_to
):
    n_channels = colour.shape[1]
    for ray in range(ray_from, ray_to):
        transmittance, opacity, distance = _ONE, _ZERO, _ZERO
        for i in range(offsets[ray], offsets[ray + 1]):
            optical_depth = density[i] * (t_end[i] - t_start[i])
            weight = -transmittance * np.expm1(-optical_depth)
            transmittance *= np.exp(-optical_depth)
            weights[i] = weight
            after[i] = transmittance
            opacity += weight
            distance += weight * (t_start[i] + t_end[i]) / np.float32(2)
            for c in range(n_channels):
                out_colour[ray, c] += weight * colour[i, c]
        out_opacity[ray] = opacity
        out_distance[ray] = distance


@njit(**_JIT)
def _composite_gradient(
    colour, t_start, t_end, offsets, weights, after, gradients, density_grad, colour_grad, ray_from, ray_to
):
    grad_colour, grad_opacity, grad_distance, grad_weights = gradients
    n_channels = colour.shape[1]
    for ray in range(ray_from, ray_to):
        # What the samples behind lose of the loss when this one takes light away from them: sum_{j>i} w_j dL/dw_j.
        behind = _ZERO
        for i in range(offsets[ray + 1] - 1, offsets[ray] - 1, -1):
            middle = (t_start[i] + t_end[i]) / np.float32(2)
            by_weight = grad_weights[i] + grad_opacity[ray] + grad_distance[ray] * middle  # dL/dw_i
            for c in range(n_channels):
                by_weight += grad_colour[ray, c] * colour[i, c]
                colour_grad[i, c] = grad_colour[ray, c] * weights[i]
            density_grad[i] = (t_end[i] - t_start[i]) * (after[i] * by_weight - behind)
            behind += weights[i] * by_weight


class _Composite(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, density: Tensor, colour: Tensor, samples: RaySamples
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        density, colour = density.contiguous(), colour.contiguous()
        interval = (samples.t_start.numpy(), samples.t_end.numpy(), samples.ray_offsets.numpy())
        weights, after = torch.empty_like(density), torch.empty_like(density)
        out_colour = torch.zeros(samples.n_rays, colour.shape[1])
        opacity, distance = torch.empty(samples.n_rays), torch.empty(samples.n_rays)
        outputs = [tensor.numpy() for tensor in (weights, after, out_colour, opacity, distance)]
        work = partial(_composite, density.numpy(), colour.numpy(), *interval, *outputs)
        share_out(work, samples.n_rays, _RAYS_AT_ONCE)
        ctx.save_for_backward(colour, weights, after)
        ctx.interval = interval
        return out_colour, opacity, distance, weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        colour, weights, after = ctx.saved_tensors
        density_grad, colour_grad = torch.empty_like(weights), torch.empty_like(colour)
        given = tuple(gradient.contiguous().numpy() for gradient in gradients)
        outputs = density_grad.numpy(), colour_grad.numpy()
        work = partial(
            _composite_gradient, colour.numpy(), *ctx.interval, weights.numpy(), after.numpy(), given, *outputs
        )
        share_out(work, len(ctx.interval[-1]) - 1, _RAYS_AT_ONCE)
        return density_grad, colour_grad, None


class NumbaRenderer:
    """The CPU's kernels: float32, deterministic."""

    @torch.no_grad()
    def march(
        self, rays_o: Tensor, rays_d: Tensor, occupancy: OccupancyGrid, step_size: float, jitter: Tensor | None = None
    ) -> RaySamples:
        entry, leave = box_intersection(rays_o, rays_d, occupancy.bound)
        first = (entry + (0.5 if jitter is None else jitter) * step_size).numpy()
        longest = float((leave - entry).max()) if len(entry) else 0.0
        marks = torch.empty(len(rays_o), ceil(max(longest, 0.0) / step_size), dtype=torch.bool).numpy()
        offsets = torch.zeros(len(rays_o) + 1, dtype=torch.long)
        rays = [each.contiguous().numpy() for each in (rays_o, rays_d)]
        cells, bound, step = occupancy.occupied.numpy(), np.float32(occupancy.bound), np.float32(step_size)
        work = partial(_mark, *rays, first, leave.numpy(), cells, bound, step, marks, offsets[1:].numpy())
        share_out(work, len(rays_o), _RAYS_AT_ONCE)
        offsets = offsets.cumsum(dim=0)
        n_samples = int(offsets[-1])
        ray_index = torch.empty(n_samples, dtype=torch.long)
        t_start, t_end = torch.empty(n_samples), torch.empty(n_samples)
        samples = [each.numpy() for each in (ray_index, t_start, t_end)]
        work = partial(_fill, marks, first, step, offsets.numpy(), *samples)
        share_out(work, len(rays_o), _RAYS_AT_ONCE)
        return RaySamples(ray_index, t_start, t_end, offsets)

    def composite(self, density: Tensor, colour: Tensor, samples: RaySamples) -> VolumeRender:
        out_colour, opacity, distance, weights = _Composite.apply(density, colour, samples)
        return VolumeRender(out_colour, opacity, mean_depth(distance, opacity), weights)
