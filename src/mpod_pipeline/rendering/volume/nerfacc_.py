"""Volume rendering on a CUDA device: nerfacc.

Written against nerfacc 0.5.3: ``traverse_grids(rays_o, rays_d, binaries, aabbs, near_planes, far_planes, step_size,
...) -> (RayIntervals, RaySamples, terminations)`` (``grid.py``; what ``OccGridEstimator.sampling`` calls, here with our
own grid's cells, so that there is one grid to update and to save), ``render_weight_from_density(t_starts, t_ends,
sigmas, packed_info, ...) -> (weights, transmittance, alphas)`` and ``accumulate_along_rays(weights, values,
ray_indices, n_rays) -> [N, D]`` (``volrend.py``). None of the packed operations exists without CUDA.
"""

from __future__ import annotations

from types import ModuleType

import torch
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.rendering.volume.interface import RaySamples, VolumeRender, box_intersection, mean_depth
from mpod_pipeline.rendering.volume.occupancy import OccupancyGrid


def _nerfacc() -> ModuleType:
    if not torch.cuda.is_available():
        raise SetupError("nerfacc needs a CUDA device; choose the backend 'torch', which needs none.")
    try:
        import nerfacc
        from nerfacc.cuda._backend import _C  # compiled here at the first import of it on a machine
    except (ImportError, OSError, RuntimeError) as error:
        raise SetupError(
            "The backend 'cuda_packages' renders rays with nerfacc, whose CUDA part did not build or load "
            f"({error}): see docs/gpu.md, or choose the backend 'torch', which does not need it."
        ) from error
    if _C is None:
        raise SetupError(
            "nerfacc compiles its CUDA part on this machine and finds no nvcc: install the CUDA toolkit of "
            "PyTorch's version (docs/gpu.md), or choose the backend 'torch'."
        )
    return nerfacc


class NerfaccRenderer:
    """nerfacc's kernels."""

    def __init__(self) -> None:
        self._nerfacc = _nerfacc()

    @torch.no_grad()
    def march(
        self, rays_o: Tensor, rays_d: Tensor, occupancy: OccupancyGrid, step_size: float, jitter: Tensor | None = None
    ) -> RaySamples:
        entry, leave = box_intersection(rays_o, rays_d, occupancy.bound)
        fraction = 0.5 if jitter is None else jitter
        # nerfacc's intervals begin at the near plane, ours half a step before the first midpoint.
        near = entry + (fraction - 0.5) * step_size
        box = torch.tensor([[-occupancy.bound] * 3 + [occupancy.bound] * 3], device=rays_o.device)
        intervals, samples, _ = self._nerfacc.traverse_grids(
            rays_o,
            rays_d,
            occupancy.occupied[None],
            box,
            near_planes=near.clamp_min(0),
            far_planes=leave,
            step_size=step_size,
        )
        counts = samples.packed_info[:, 1]
        return RaySamples(
            ray_index=samples.ray_indices,
            t_start=intervals.vals[intervals.is_left],
            t_end=intervals.vals[intervals.is_right],
            ray_offsets=torch.cat([counts.new_zeros(1), counts.cumsum(dim=0)]),
        )

    def composite(self, density: Tensor, colour: Tensor, samples: RaySamples) -> VolumeRender:
        offsets = samples.ray_offsets
        packed_info = torch.stack([offsets[:-1], offsets.diff()], dim=-1)
        weights, _, _ = self._nerfacc.render_weight_from_density(
            samples.t_start, samples.t_end, density, packed_info=packed_info
        )
        middle = (samples.t_start + samples.t_end) / 2
        opacity = self._accumulate(weights, None, samples)[:, 0]
        return VolumeRender(
            colour=self._accumulate(weights, colour, samples),
            opacity=opacity,
            depth=mean_depth(self._accumulate(weights, middle[:, None], samples)[:, 0], opacity),
            weights=weights,
        )

    def _accumulate(self, weights: Tensor, values: Tensor | None, samples: RaySamples) -> Tensor:
        return self._nerfacc.accumulate_along_rays(
            weights, values, ray_indices=samples.ray_index, n_rays=samples.n_rays
        )
