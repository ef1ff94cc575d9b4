"""A small piece of work for a device and a backend, to know before any product is touched whether they do it."""

from __future__ import annotations

from collections.abc import Callable

import torch

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.fields.hash_encoding import HashGridParameters
from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters
from mpod_pipeline.geometry.dmtet import DMTet
from mpod_pipeline.geometry.tetrahedra import box_grid
from mpod_pipeline.rendering.backend import Backend, choose_backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from mpod_pipeline.rendering.volume import draw_jitter, make_volume_renderer, render_rays


def try_backend(
    attempt: Callable[[Backend, torch.device | str], None], backend: Backend | None, device: torch.device | str
) -> None:
    """Let a GPU, and the packages of a backend, do a small piece of work; whatever they say becomes a SetupError.

    On the CPU there is nothing to try but whether the backend works there.
    """
    chosen = choose_backend(backend, device)
    if torch.device(device).type != "cuda":
        return
    try:
        attempt(chosen, device)
    except SetupError:
        raise
    except Exception as error:  # what compiled code says when it does not fit the GPU is of any kind
        raise SetupError(
            f"The backend '{chosen}' does not work on the device '{device}' ({type(error).__name__}: {error}). "
            "PyTorch, and the packages that a backend takes, have to be built for this GPU: see docs/gpu.md."
        ) from error


def try_volumes(backend: Backend, device: torch.device | str) -> None:
    """Hash encoding, networks, marching and compositing, forward and backward, on some rays."""
    grid = HashGridParameters(levels=2, log2_table_size=8, finest_resolution=32)
    field = OutlineField(OutlineFieldParameters(hash_grid=grid, occupancy_resolution=8), backend, device)
    rays_o, rays_d = (rays.reshape(-1, 3).contiguous() for rays in Cameras.at(0.0, 0.0).to(device).rays(8, 8))
    renderer, jitter = make_volume_renderer(backend), draw_jitter(rays_o)
    seen = render_rays(field, rays_o, rays_d, field.occupancy, renderer, step_size=0.1, jitter=jitter)
    (seen.colour.mean() + seen.opacity.mean()).backward()


def try_meshes(backend: Backend, device: torch.device | str) -> None:
    """Marching tetrahedra and rasterising, forward and backward, on a small ball."""
    grid = box_grid(torch.full((3,), -1.0), torch.full((3,), 1.0), 6).to(device)
    shape = DMTet(grid, 0.6 - grid.vertices.norm(dim=-1), backend)
    mesh = shape.mesh()
    # kaolin's backward starts one block per whole 512 pixels, so that of fewer it starts none, which CUDA refuses
    seen = rasterize(mesh.vertices, mesh.faces, mesh.vertices, Cameras.at(0.0, 0.0).to(device), 32, backend)
    (seen.attributes.square().mean() + seen.opacity.mean()).backward()
