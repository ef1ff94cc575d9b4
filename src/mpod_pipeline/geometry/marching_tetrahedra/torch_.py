"""Marching tetrahedra in plain PyTorch, on any device.

Faces come in the CPU kernel's order; crossings are numbered by their edges. What waits for the device is the size of
three results, which depends on the field: crossed tetrahedra, triangles, crossings.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from mpod_pipeline.geometry.marching_tetrahedra.cases import COUNTS, ORDERS, crossings
from mpod_pipeline.geometry.mesh import Mesh

# A triangle's corners lie on edges, which are pairs of places in a case's order (see `ORDERS`): of one inside vertex,
# of two (a square, cut in two), of three.
_ONE = [[(0, 1), (0, 2), (0, 3)]]
_TWO = [[(0, 2), (0, 3), (1, 3)], [(0, 2), (1, 3), (1, 2)]]
_THREE = [[(0, 1), (0, 3), (0, 2)]]


@cache
def _triangles(device: torch.device) -> tuple[Tensor, Tensor]:
    """For each case how many triangles it has [16], and of up to two of them the vertices (0 to 3) at both ends of the
    edges that their corners lie on [16, 2, 3, 2].
    """
    places = torch.zeros(16, 2, 3, 2, dtype=torch.long)
    for case, count in enumerate(COUNTS.tolist()):
        for number, triangle in enumerate(((), _ONE, _TWO, _THREE)[count]):
            places[case, number] = torch.tensor(triangle)
    orders = torch.from_numpy(ORDERS).long()
    ends = orders.gather(1, places.view(16, -1)).view(places.shape)
    triangles = torch.tensor([0, 1, 2, 1])[torch.from_numpy(COUNTS).long()]
    return triangles.to(device), ends.to(device)


def marching_tetrahedra(vertices: Tensor, tetrahedra: Tensor, sdf: Tensor) -> Mesh:
    """See ``mpod_pipeline.geometry.marching_tetrahedra.marching_tetrahedra``."""
    count = len(vertices)
    edges, faces = _triangulate(tetrahedra, sdf.detach() > 0, count)
    ends = torch.stack([edges // count, edges % count], dim=1)
    return Mesh(crossings(vertices, sdf, ends), faces)


def _triangulate(tetrahedra: Tensor, inside: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The crossed edges [E], each as one number (its smaller vertex times ``count``, and the larger), and faces [F, 3]
    over them.
    """
    marks = inside.to(torch.uint8).index_select(0, tetrahedra.flatten()).view(-1, 4)
    case = marks[:, 0] | marks[:, 1] << 1 | marks[:, 2] << 2 | marks[:, 3] << 3  # [T]
    crossed = ((case != 0) & (case != 15)).nonzero()[:, 0]
    case = case[crossed].long()
    triangles, ends = _triangles(tetrahedra.device)
    corners = tetrahedra[crossed].long().gather(1, ends[case].view(len(case), 12)).view(-1, 2, 3, 2)
    keys = corners.amin(dim=3) * count + corners.amax(dim=3)  # [crossed, 2, 3]
    drawn = torch.arange(2, device=case.device) < triangles[case, None]
    edges, faces = torch.unique(keys[drawn], return_inverse=True)
    return edges, faces
