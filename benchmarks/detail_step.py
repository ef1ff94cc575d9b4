"""How long a step of stage 2 takes without its prior, part by part: by the Numba kernels, and by plain PyTorch.

    python benchmarks/detail_step.py
    python benchmarks/detail_step.py --device cuda      # PyTorch alone

Marching, topology, rasterising, losses and the gradient, at the sizes of conf/base (grid 56, two views of 128²) and of
conf/gpu (grid 128, one of 1024²). "Topology by rows" is how edges were found before, and three times a step
(marching had its own): ``torch.unique(dim=0)`` over pairs of vertices.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from time import perf_counter

import torch
from torch import Tensor

from mpod_pipeline.geometry.dmtet import DMTet
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.regularisers import laplacian, mask_loss, normal_consistency
from mpod_pipeline.geometry.tetrahedra import box_grid
from mpod_pipeline.rendering.backend import Backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import Raster, rasterize

#: Name, resolution of the grid, and of the pictures, and azimuths of the views.
SIZES = (("conf/base", 56, 128, [0.0, 120.0]), ("conf/gpu", 128, 1024, [30.0]))


def milliseconds(work: Callable[[], object], device: str, repeats: int) -> float:
    """The fastest of some runs, after one that warms up: other work on the machine disturbs the others."""
    times = []
    for _ in range(repeats + 1):
        start = perf_counter()
        work()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        times.append(perf_counter() - start)
    return 1000 * min(times[1:])


def wavy_ball(resolution: int, backend: Backend, device: str) -> DMTet:
    """A shape with a surface of all directions, in a grid that fits it as closely as stage 2's."""
    grid = box_grid(torch.full((3,), -0.8), torch.full((3,), 0.8), resolution)
    x, y, z = grid.vertices.unbind(dim=1)
    sdf = 0.6 + 0.05 * (9 * x).sin() * (7 * y).cos() * (8 * z).sin() - grid.vertices.norm(dim=1)
    return DMTet(grid.to(device), sdf.to(device), backend).to(device)


def losses(mesh: Mesh, raster: Raster) -> Tensor:
    """Stage 2's, except its prior's and colours."""
    target = torch.zeros_like(raster.opacity)
    pictures = raster.attributes * raster.opacity[..., None]
    return mask_loss(raster.opacity, target) + pictures.square().mean() + _regularisers(mesh)


def _regularisers(mesh: Mesh) -> Tensor:
    return normal_consistency(mesh) + laplacian(mesh)


def topology_by_rows(faces: Tensor) -> Tensor:
    sides = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return torch.unique(sides.sort(dim=1).values, dim=0)


def parts(shape: DMTet, cameras: Cameras, resolution: int) -> dict[str, Callable[[], object]]:
    """The parts of a step, and the step."""
    mesh = shape.mesh()
    vertices, faces, backend = mesh.vertices.detach(), mesh.faces, shape.backend
    attributes = vertices.clone()

    def draw(of: Mesh) -> Raster:
        return rasterize(of.vertices, of.faces, attributes, cameras, resolution, backend)

    def step() -> None:
        shape.zero_grad()
        now = shape.mesh()
        losses(now, draw(now)).backward()

    return {
        "marching": shape.mesh,
        "topology": lambda: Mesh(vertices, faces).topology.adjacent_faces,
        "topology by rows": partial(topology_by_rows, faces),
        "rasterising": lambda: draw(mesh.detach()),
        "regularisers": lambda: _regularisers(mesh),
        "step, with its gradient": step,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--sizes", nargs="+", choices=[name for name, *_ in SIZES])
    arguments = parser.parse_args()
    device = arguments.device
    backends: tuple[Backend, ...] = ("numba", "torch") if device == "cpu" else ("torch",)
    for name, grid, resolution, azimuths in SIZES:
        if arguments.sizes and name not in arguments.sizes:
            continue
        cameras = Cameras.at(azimuths, 20.0).to(device)
        shapes = [wavy_ball(grid, backend, device) for backend in backends]
        print(f"\n{name}: grid {grid}, {len(shapes[0].mesh().faces):,} triangles, {len(azimuths)} x {resolution}²")
        print(f"{'milliseconds':26}" + "".join(f"{backend:>10}" for backend in backends))
        made = [parts(shape, cameras, resolution) for shape in shapes]
        for part in made[0]:
            times = [milliseconds(works[part], device, arguments.repeats) for works in made]
            print(f"{part:26}" + "".join(f"{time:10.1f}" for time in times), flush=True)


if __name__ == "__main__":
    main()
