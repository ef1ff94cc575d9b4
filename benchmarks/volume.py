"""How long a step of fitting the outline field takes, part by part, and against plain PyTorch.

    python benchmarks/volume.py

Two views of 64 x 64 of the field at its start (a soft ball), steps of 0.02, forward and backward.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import RaySamples, VolumeRenderer, make_volume_renderer
from mpod_pipeline.rendering.volume.torch_ import TorchRenderer

STEP_SIZE = 0.02


def middle(work: Callable[[], object], repeats: int = 15) -> float:
    """Median of some runs in milliseconds, after one that compiles and warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times) * 1000


def composite(renderer: VolumeRenderer, density: Tensor, colour: Tensor, samples: RaySamples) -> None:
    render = renderer.composite(density, colour, samples)
    torch.autograd.grad(render.colour.sum() + render.opacity.sum(), [density, colour])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--resolution", type=int, default=64)
    resolution = parser.parse_args().resolution
    field = OutlineField(OutlineFieldParameters())
    field.occupancy.update(0, field.density)
    rays_o, rays_d = (
        rays.reshape(-1, 3) for rays in Cameras.at([0.0, 120.0], [0.0, 30.0]).rays(resolution, resolution)
    )
    numba, pytorch = make_volume_renderer(), TorchRenderer()
    samples = numba.march(rays_o, rays_d, field.occupancy, STEP_SIZE)
    points = samples.points(rays_o, rays_d)
    density, colour = (tensor.detach().requires_grad_() for tensor in field(points))

    def field_step() -> None:
        field.zero_grad()
        sum(output.sum() for output in field(points)).backward()  # type: ignore[union-attr]

    print(f"{len(rays_o):,} rays, {len(samples):,} samples, {torch.get_num_threads()} threads; median ms")
    print(f"{'':24}{'Numba':>10}{'PyTorch':>10}")
    for name, work in {
        "march": lambda backend: backend.march(rays_o, rays_d, field.occupancy, STEP_SIZE),
        "composite, gradient": lambda backend: composite(backend, density, colour, samples),
    }.items():
        ours, theirs = (middle(partial(work, backend)) for backend in (numba, pytorch))
        print(f"{name:24}{ours:10.1f}{theirs:10.1f}")
    print(f"{'field, gradient':24}{middle(field_step):10.1f}")
    print(f"{'occupancy update':24}{middle(lambda: field.occupancy.update(0, field.density)):10.1f}")


if __name__ == "__main__":
    main()
