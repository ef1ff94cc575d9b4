"""How much faster is our rasteriser than deodr (a differentiable renderer for the CPU, C++)?

    pip install deodr==0.2.3
    python benchmarks/rasterize.py

Both render positions interpolated over 20k triangles with soft silhouettes, and take the gradient of a sum
back to the vertices. The two take turns, so that a busy machine slows both; the ratio is of medians.
deodr's time leaves out its projection and the search for silhouette edges; ours is of the whole function,
projection included.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from deodr.differentiable_renderer import Scene2D
from deodr.triangulated_mesh import TriMesh

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize

REPEATS = 51
CAMERAS = Cameras.at(30.0, 20.0)


def torus(major: int, minor: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A closed torus of 2 * major * minor triangles: vertices [V, 3], faces [F, 3], seen from outside
    clockwise.
    """
    i, j = torch.meshgrid(torch.arange(major), torch.arange(minor), indexing="ij")
    u, v = i * 2 * torch.pi / major, j * 2 * torch.pi / minor
    radius = 0.5 + 0.3 * v.cos()
    vertices = torch.stack([radius * u.cos(), radius * u.sin(), 0.3 * v.sin()], dim=-1).reshape(-1, 3)
    a, b = i * minor + j, (i + 1) % major * minor + j
    c, d = (i + 1) % major * minor + (j + 1) % minor, i * minor + (j + 1) % minor
    return vertices, torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)


def ours(vertices: torch.Tensor, faces: torch.Tensor, size: int) -> Callable[[], None]:
    moving = vertices.clone().requires_grad_()

    by_attributes, by_opacity = torch.ones(1, size, size, 3), torch.ones(1, size, size)

    def run() -> None:
        raster = rasterize(moving, faces, moving, CAMERAS, size)
        torch.autograd.backward([raster.attributes, raster.opacity], [by_attributes, by_opacity])

    return run


def deodrs(vertices: torch.Tensor, faces: torch.Tensor, size: int) -> Callable[[], None]:
    points = CAMERAS.project(vertices)[0].double().numpy()
    pixels = np.stack([(1 + points[:, 0]) * size / 2, (1 - points[:, 1]) * size / 2], axis=1) - 0.5
    triangles = faces.numpy().astype(np.uint32)
    count = len(vertices)
    by_image = np.ones((size, size, 3))
    scene = Scene2D(
        faces=triangles,
        faces_uv=triangles,
        ij=pixels,
        depths=points[:, 2].copy(),
        textured=np.zeros(len(faces), bool),
        uv=np.zeros((count, 2)),
        shade=np.zeros(count),
        colors=vertices.double().numpy(),
        shaded=np.zeros(len(faces), bool),
        edgeflags=TriMesh(triangles, vertices.double().numpy()).edge_on_silhouette(pixels),
        height=size,
        width=size,
        nb_colors=3,
        texture=np.zeros((0, 0, 3)),
        background_color=np.zeros(3),
        backface_culling=True,
    )

    def run() -> None:
        scene.clear_gradients()
        scene.render()
        scene.render_backward(by_image)

    run()
    drawn = scene.render()[0].any(axis=-1).mean()
    expected = float((rasterize(vertices, faces, vertices, CAMERAS, size).opacity[0] > 0).float().mean())
    assert abs(drawn - expected) < 0.01, f"deodr draws {drawn:.3f} of the frame, we draw {expected:.3f}"
    return run


def seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    vertices, faces = torus(100, 100)
    print(f"{len(faces)} triangles, {torch.get_num_threads()} threads; forward + backward, medians of {REPEATS}")
    for size in (128, 512, 1024):
        mine, other = ours(vertices, faces, size), deodrs(vertices, faces, size)
        mine(), other()
        times = np.array([(seconds(mine), seconds(other)) for _ in range(REPEATS)])
        we, they = np.median(times, axis=0) * 1e3
        print(f"{size:5}²: ours {we:6.1f} ms, deodr {they:6.1f} ms: {they / we:.1f} times as fast")


if __name__ == "__main__":
    main()
