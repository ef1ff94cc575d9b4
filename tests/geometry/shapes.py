"""Meshes of known measures."""

from math import pi

import numpy as np
import torch
from torch import Tensor

from mpod_pipeline.geometry.marching_tetrahedra import marching_tetrahedra
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.tetrahedra import TetrahedralGrid, box_grid
from mpod_pipeline.synthesis.solids import Part, lathe

CUBE_FACES = torch.tensor(
    [
        *[[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6]],
        *[[0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7]],
        *[[0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]],
    ]
)


def euler_number(mesh: Mesh) -> int:
    """V - E + F over used vertices: 2 - 2 * genus for a closed surface."""
    return torch.unique(mesh.faces).numel() - len(mesh.topology.edges) + len(mesh.faces)


def box(x: float = 1.0, y: float = 1.0, z: float = 1.0) -> Mesh:
    """A box of the given sides round the origin, two triangles a side, outward."""
    corners = torch.tensor([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) - 0.5
    return Mesh(corners * torch.tensor([x, y, z]), CUBE_FACES)


def plane(n: int) -> Mesh:
    """The unit square of n × n quads in the plane z = 0, facing up, open at its border."""
    ticks = torch.linspace(0, 1, n + 1)
    x, y = torch.meshgrid(ticks, ticks, indexing="ij")
    i, j = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    a = i * (n + 1) + j
    b, c, d = a + n + 1, a + n + 2, a + 1
    faces = torch.cat([torch.stack([a, b, c], -1), torch.stack([a, c, d], -1)]).reshape(-1, 3)
    return Mesh(torch.stack([x, y, torch.zeros_like(x)], -1).reshape(-1, 3), faces)


def unit_grid(resolution: int) -> TetrahedralGrid:
    return box_grid(-torch.ones(3), torch.ones(3), resolution)


def sphere_sdf(points: Tensor, radius: float) -> Tensor:
    return radius - points.norm(dim=-1)


def torus_sdf(points: Tensor, major: float, minor: float) -> Tensor:
    ring = points[:, :2].norm(dim=-1) - major
    return minor - torch.stack([ring, points[:, 2]], dim=-1).norm(dim=-1)


def ball(radius: float, resolution: int = 24, centre: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Mesh:
    """A sphere by marching tetrahedra."""
    grid = unit_grid(resolution)
    sdf = sphere_sdf(grid.vertices - torch.tensor(centre), radius)
    return marching_tetrahedra(grid.vertices, grid.tetrahedra, sdf)


def mesh_of(*parts: Part) -> Mesh:
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=False)])
    return Mesh(torch.from_numpy(np.concatenate([p.vertices for p in parts])), torch.from_numpy(faces.astype(np.int64)))


def cup(floor: float, radius: float = 0.4, wall: float = 0.06, height: float = 1.0) -> Mesh:
    """A turned cup: the outer side, the rim, the inner side, and a floor at that height."""
    inner = radius - wall
    profile = [(0, 0), (radius, 0), (radius, height), (inner, height), (inner, floor), (0, floor)]
    return mesh_of(lathe(profile, 0, segments=96))


def moved(mesh: Mesh, *offset: float) -> Mesh:
    return Mesh(mesh.vertices + torch.tensor(offset), mesh.faces)


def sphere(rings: int, segments: int, radius: float = 1.0) -> tuple[Tensor, Tensor]:
    """A closed sphere of (rings, segments) quads cut in two, poles on z."""
    polar = torch.linspace(0, pi, rings + 1)[1:-1]
    turn = torch.arange(segments) * 2 * pi / segments
    grid = torch.stack(
        [
            polar.sin()[:, None] * turn.cos(),
            polar.sin()[:, None] * turn.sin(),
            polar.cos()[:, None].expand(-1, segments),
        ],
        dim=-1,
    ).reshape(-1, 3)
    vertices = torch.cat([grid, torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])]) * radius
    faces, top, bottom = [], len(vertices) - 2, len(vertices) - 1
    for i in range(rings - 1):
        for j in range(segments):
            here, beside = i * segments + j, i * segments + (j + 1) % segments
            if i == 0:
                faces.append([top, here, beside])
            if i == rings - 2:
                faces.append([bottom, beside, here])
            else:
                below, across = here + segments, beside + segments
                faces += [[here, below, beside], [beside, below, across]]
    return vertices, torch.tensor(faces)
