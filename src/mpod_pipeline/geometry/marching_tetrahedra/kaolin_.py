"""Marching tetrahedra on CUDA: kaolin's.

Signature, from kaolin/ops/conversions/tetmesh.py (kaolin 0.18.0; read at commit 6569ea3e of
NVIDIAGameWorks/kaolin)::

    marching_tetrahedra(vertices [B, V, 3], tets [T, 4] int64, sdf [B, V], return_tet_idx=False)
    -> (vertices of each mesh, faces of each mesh)

It counts ``sdf > 0`` as marked and winds its triangles outwards from the vertices that are not marked, for
positively oriented tetrahedra; as our inside is positive, we turn them round.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.geometry.mesh import Mesh


def marching_tetrahedra(vertices: Tensor, tetrahedra: Tensor, sdf: Tensor) -> Mesh:
    """See ``mpod_pipeline.geometry.marching_tetrahedra.marching_tetrahedra``."""
    if not torch.cuda.is_available():
        raise SetupError("kaolin needs a CUDA device; choose the backend 'torch', which needs none.")
    try:
        from kaolin.ops.conversions import marching_tetrahedra as march
    except ImportError as error:
        raise SetupError(
            "The backend 'cuda_packages' marches tetrahedra with kaolin: install it (docs/gpu.md), or choose the "
            "backend 'torch', which does not need it."
        ) from error
    (surface,), (faces,) = march(vertices[None], tetrahedra.long(), sdf[None])
    return Mesh(surface, faces.flip(1))
