"""From a field and rays, or cameras, to pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mpod_pipeline.rendering.backend import Backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume.interface import VolumeRender, VolumeRenderer
from mpod_pipeline.rendering.volume.occupancy import OccupancyGrid

#: Points in the world [M, 3] -> density [M] and colour [M, C].
Field = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class VolumeImage:
    """What B cameras saw, on nothing (see `on_background`)."""

    colour: Tensor  # [B, H, W, C]
    opacity: Tensor  # [B, H, W]
    depth: Tensor  # [B, H, W], along the viewing direction; 0 where nothing was seen


def make_volume_renderer(backend: Backend = "numba") -> VolumeRenderer:
    """The volume renderer of a backend. Raises SetupError where its package or device is absent."""
    if backend == "cuda_packages":
        from mpod_pipeline.rendering.volume.nerfacc_ import NerfaccRenderer

        return NerfaccRenderer()
    if backend == "torch":
        from mpod_pipeline.rendering.volume.torch_ import TorchRenderer

        return TorchRenderer()
    from mpod_pipeline.rendering.volume.numba_ import NumbaRenderer

    return NumbaRenderer()


def draw_jitter(rays_o: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """A random fraction of a step for each of N rays, [N]; drawn on the CPU, so the same everywhere."""
    return torch.rand(len(rays_o), generator=generator).to(rays_o.device)


def render_rays(
    field: Field,
    rays_o: Tensor,  # [N, 3]
    rays_d: Tensor,  # [N, 3], unit length
    occupancy: OccupancyGrid,
    renderer: VolumeRenderer,
    *,
    step_size: float,
    jitter: Tensor | None = None,  # [N] in [0, 1), see `VolumeRenderer.march`
) -> VolumeRender:
    """Render rays through a field, in steps of `step_size` world units. Differentiable to its outputs."""
    samples = renderer.march(rays_o, rays_d, occupancy, step_size, jitter)
    density, colour = field(samples.points(rays_o, rays_d))
    return renderer.composite(density, colour, samples)


@torch.no_grad()
def render_image(
    field: Field,
    cameras: Cameras,
    resolution: int,
    occupancy: OccupancyGrid,
    renderer: VolumeRenderer,
    *,
    step_size: float,
    rays_per_chunk: int = 1 << 15,
) -> VolumeImage:
    """Render square pictures without gradients; `rays_per_chunk` bounds the memory."""
    rays_o, rays_d = cameras.rays(resolution, resolution)
    chunks = zip(rays_o.reshape(-1, 3).split(rays_per_chunk), rays_d.reshape(-1, 3).split(rays_per_chunk), strict=True)
    renders = [render_rays(field, o, d, occupancy, renderer, step_size=step_size) for o, d in chunks]
    shape = (len(cameras), resolution, resolution)
    distance = torch.cat([render.depth for render in renders]).view(shape)
    forward = cameras.basis[3]  # [B, 3]
    return VolumeImage(
        colour=torch.cat([render.colour for render in renders]).view(*shape, -1),
        opacity=torch.cat([render.opacity for render in renders]).view(shape),
        depth=distance * torch.einsum("bhwc,bc->bhw", rays_d, forward),
    )
