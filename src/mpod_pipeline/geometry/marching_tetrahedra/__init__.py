"""Marching tetrahedra: the surface where a signed distance field on a tetrahedral grid is 0.

Signed distances are POSITIVE INSIDE throughout. Three backends share one interface: our own Numba kernel on the CPU,
plain PyTorch on any device, and kaolin's on CUDA.
"""

from __future__ import annotations

from torch import Tensor

from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.rendering.backend import Backend

__all__ = ["marching_tetrahedra"]


def marching_tetrahedra(vertices: Tensor, tetrahedra: Tensor, sdf: Tensor, backend: Backend = "numba") -> Mesh:
    """Triangulate the zero level of a field that is linear in every tetrahedron.

    vertices: [V, 3]. tetrahedra: [T, 4], positively oriented. sdf: [V], positive inside; 0 counts as outside.
    Returns a mesh with outward faces, without faces where the field has one sign. It is differentiable in
    vertices and sdf, through the crossings' positions on the edges. It is closed wherever it does not meet
    the grid's hull. Raises SetupError where the backend's package or device is absent.
    """
    if backend == "cuda_packages":
        from mpod_pipeline.geometry.marching_tetrahedra import kaolin_

        return kaolin_.marching_tetrahedra(vertices, tetrahedra, sdf)
    if backend == "torch":
        from mpod_pipeline.geometry.marching_tetrahedra import torch_

        return torch_.marching_tetrahedra(vertices, tetrahedra, sdf)
    from mpod_pipeline.geometry.marching_tetrahedra import numba_

    return numba_.marching_tetrahedra(vertices, tetrahedra, sdf)
