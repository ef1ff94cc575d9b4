"""Mesh rasterising: triangles seen by cameras, differentiable in vertices and attributes.

Three backends share one interface: our own Numba kernels on the CPU, plain PyTorch on any device with the same
definitions to the pixel, and kaolin's DIB-R on CUDA. The tests have these definitions by brute force.
"""

from __future__ import annotations

from torch import Tensor

from mpod_pipeline.rendering.backend import Backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.numba_ import rasterize_numpy
from mpod_pipeline.rendering.rasterize.raster import Raster

__all__ = ["Raster", "rasterize", "rasterize_numpy"]


def rasterize(
    vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int, backend: Backend = "numba"
) -> Raster:
    """Rasterise one mesh from every camera.

    The edges of a surface in front of another one are sharp and carry no gradient; those against the background do.
    Faces with a vertex nearer than 0.01 in front of a camera, or behind it, are dropped from that camera's picture, not
    clipped.

    Args:
        vertices: [V, 3], world coordinates.
        faces: [F, 3] vertex indices, of either orientation; nothing is culled.
        attributes: [V, C], what is interpolated, such as colours.
        cameras: B of them.
        resolution: Height and width of the frame, pixels.
        backend: Whose kernel does it.

    Returns:
        Attributes [B, H, W, C] and opacity [B, H, W], among others; see `Raster`.

    Raises:
        SetupError: The backend's package or device is absent.
    """
    if backend == "cuda_packages":
        from mpod_pipeline.rendering.rasterize import kaolin_

        return kaolin_.rasterize(vertices, faces, attributes, cameras, resolution)
    if backend == "torch":
        from mpod_pipeline.rendering.rasterize import torch_

        return torch_.rasterize(vertices, faces, attributes, cameras, resolution)
    from mpod_pipeline.rendering.rasterize import numba_

    return numba_.rasterize(vertices, faces, attributes, cameras, resolution)
