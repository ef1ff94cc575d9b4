"""Marching tetrahedra: the surface where a signed distance field on a tetrahedral grid is 0.

Signed distances are POSITIVE INSIDE throughout. Two makers share one interface: ``cpu`` is our own Numba
kernel, ``cuda`` is kaolin's.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from mpod_pipeline.errors import SetupError
from mpod_pipeline.geometry.mesh import Mesh

__all__ = ["marching_tetrahedra"]


def marching_tetrahedra(
    vertices: Tensor, tetrahedra: Tensor, sdf: Tensor, maker: Literal["cpu", "cuda"] = "cpu"
) -> Mesh:
    """Triangulate the zero level of a field that is linear in every tetrahedron.

    vertices: [V, 3]. tetrahedra: [T, 4], positively oriented. sdf: [V], positive inside; 0 counts as outside.
    Returns a mesh with outward faces, without faces where the field has one sign. It is differentiable in
    vertices and sdf, through the crossings' positions on the edges. It is closed wherever it does not meet
    the grid's hull. Raises SetupError for an unknown maker, or where the CUDA maker's package is absent.
    """
    if maker == "cpu":
        from mpod_pipeline.geometry.marching_tetrahedra import numba_

        return numba_.marching_tetrahedra(vertices, tetrahedra, sdf)
    if maker == "cuda":
        from mpod_pipeline.geometry.marching_tetrahedra import kaolin_

        return kaolin_.marching_tetrahedra(vertices, tetrahedra, sdf)
    raise SetupError(f"The maker of marching tetrahedra is 'cpu' or 'cuda', not {maker!r}.")
