"""Mesh rasterising: triangles seen by cameras, differentiable in vertices and attributes.

Two makers share one interface: ``cpu`` is our own Numba kernel, ``cuda`` is kaolin's DIB-R. ``reference.py``
is the CPU's mathematics by brute force in PyTorch, for tests.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mpod_pipeline.errors import SetupError
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.numba_ import rasterize_numpy
from mpod_pipeline.rendering.rasterize.raster import Raster

__all__ = ["Raster", "rasterize", "rasterize_numpy"]


def rasterize(
    vertices: Tensor,
    faces: Tensor,
    attributes: Tensor,
    cameras: Cameras,
    resolution: int,
    maker: Literal["cpu", "cuda"] = "cpu",
) -> Raster:
    """Rasterise one mesh from every camera.

    vertices: [V, 3] in world coordinates. faces: [F, 3] vertex indices, of either orientation (nothing is
    culled). attributes: [V, C]. resolution: height and width of the frame in pixels. Faces with a vertex
    nearer than 0.01 in front of a camera, or behind it, are dropped from that camera's picture, not
    clipped. The edges of a surface in front of another one are sharp and carry no gradient; those against
    the background do. Raises SetupError for an unknown maker, or where the CUDA maker's package is absent.
    """
    if maker == "cpu":
        from mpod_pipeline.rendering.rasterize import numba_

        return numba_.rasterize(vertices, faces, attributes, cameras, resolution)
    if maker == "cuda":
        from mpod_pipeline.rendering.rasterize import kaolin_

        return kaolin_.rasterize(vertices, faces, attributes, cameras, resolution)
    raise SetupError(f"The rasteriser's maker is 'cpu' or 'cuda', not {maker!r}.")
