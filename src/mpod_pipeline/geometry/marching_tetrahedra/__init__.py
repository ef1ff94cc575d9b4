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

    The mesh is differentiable in ``vertices`` and ``sdf``, through the crossings' positions on the edges. It is closed
    wherever it does not meet the grid's hull.

    Args:
        vertices: [V, 3], world units.
        tetrahedra: [T, 4] int64, positively oriented.
        sdf: [V], positive inside; 0 counts as outside.
        backend: Whose kernel does it.

    Returns:
        A mesh with outward faces; without faces where the field has one sign.

    Raises:
        SetupError: The backend's package or device is absent.

    Example:
        >>> import torch
        >>> corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
        >>> inside = torch.tensor([1.0, -1, -1, -1])
        >>> len(marching_tetrahedra(corners, torch.tensor([[0, 1, 2, 3]]), inside, "torch").faces)
        1
    """
    if backend == "cuda_packages":
        from mpod_pipeline.geometry.marching_tetrahedra import kaolin_

        return kaolin_.marching_tetrahedra(vertices, tetrahedra, sdf)
    if backend == "torch":
        from mpod_pipeline.geometry.marching_tetrahedra import torch_

        return torch_.marching_tetrahedra(vertices, tetrahedra, sdf)
    from mpod_pipeline.geometry.marching_tetrahedra import numba_

    return numba_.marching_tetrahedra(vertices, tetrahedra, sdf)
