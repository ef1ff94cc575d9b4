"""Triangle meshes: their measures, their connected parts, sampling and simplification.

Faces are counter-clockwise seen from outside. Lengths are world units.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh.

    Args:
        vertices: [V, 3] float, world units.
        faces: [F, 3] int64, counter-clockwise seen from outside.

    Example:
        >>> corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
        >>> triangle = Mesh(corners, torch.tensor([[0, 1, 2]]))
        >>> triangle.area().item(), triangle.face_normals().tolist()
        (0.5, [[0.0, 0.0, 1.0]])
    """

    vertices: Tensor
    faces: Tensor

    def corners(self) -> Tensor:
        """The faces' vertices: [F, 3, 3]."""
        return self.vertices[self.faces]

    def area_vectors(self) -> Tensor:
        """Outward normals of the faces, as long as the faces are large: [F, 3]."""
        a, b, c = self.corners().unbind(dim=1)
        return torch.linalg.cross(b - a, c - a) / 2

    def face_normals(self) -> Tensor:
        """Unit outward normals [F, 3]; 0 for faces without area."""
        return normalize(self.area_vectors(), dim=-1, eps=1e-12)

    def vertex_normals(self) -> Tensor:
        """Unit means of the adjacent faces' normals, weighted by area: [V, 3]; 0 for unused vertices."""
        vectors = self.area_vectors()[:, None].expand(-1, 3, -1).reshape(-1, 3)
        total = torch.zeros_like(self.vertices).index_add(0, self.faces.reshape(-1), vectors)
        return normalize(total, dim=-1, eps=1e-12)

    def area(self) -> Tensor:
        """Total area, a scalar."""
        return self.area_vectors().norm(dim=-1).sum()

    def volume(self) -> Tensor:
        """The volume inside a closed mesh, a scalar (divergence theorem); negative if it is inside out."""
        return (self.corners()[:, 0] * self.area_vectors()).sum() / 3

    @cached_property
    def topology(self) -> Topology:
        """The edges, sorted once per mesh: all that asks for them shares the result."""
        return Topology.of(self.faces, len(self.vertices))

    def detach(self) -> Mesh:
        return Mesh(self.vertices.detach(), self.faces)


@dataclass(frozen=True)
class MeshFacts:
    """What ``check_mesh`` found."""

    watertight: bool
    components: int


def _directed_edges(faces: Tensor) -> Tensor:
    """The faces' sides in their sense of rotation: [3 F, 2], side k of face f in row k F + f."""
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


@dataclass(frozen=True)
class Topology:
    """The edges of a mesh, each once, and which sides of its faces lie on each.

    edges: [E, 2], the smaller vertex first, in lexicographic order. sides: [3 F], the numbers of the faces' sides (side
    k of face f is k F + f), edge by edge. count: [E], how many sides lie on each edge.
    """

    edges: Tensor
    sides: Tensor
    count: Tensor

    @classmethod
    def of(cls, faces: Tensor, vertex_count: int) -> Topology:
        """faces: [F, 3] int64, with vertices below ``vertex_count``."""
        a, b = _directed_edges(faces).unbind(dim=1)
        # An edge as one number: rows sort some hundred times slower (torch.unique(dim=0)).
        keys, sides = (torch.minimum(a, b) * vertex_count + torch.maximum(a, b)).sort(stable=True)
        keys, count = torch.unique_consecutive(keys, return_counts=True)
        return cls(torch.stack([keys // vertex_count, keys % vertex_count], dim=1), sides, count)

    @cached_property
    def adjacent_faces(self) -> Tensor:
        """Pairs of faces that share an edge: [P, 2]. Edges with one face, or more than two, give none."""
        first = (self.count.cumsum(0) - self.count)[self.count == 2]
        return torch.stack([self.sides[first], self.sides[first + 1]], dim=1) % (len(self.sides) // 3)


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge has two faces, which pass it in opposite senses."""
    topology = mesh.topology
    if len(topology.edges) == 0 or not bool((topology.count == 2).all()):
        return False
    ends = _directed_edges(mesh.faces)[topology.sides].view(-1, 2, 2)  # [E, side, end]
    return bool((ends[:, 0] == ends[:, 1].flip(1)).all())


def face_components(mesh: Mesh) -> tuple[int, Tensor]:
    """The number of connected parts (joined by vertices), and each face's part: [F] int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    faces = mesh.faces.cpu().numpy()
    ends = faces[:, [0, 1, 0, 2]].reshape(-1, 2)
    links = coo_array(([True] * len(ends), (ends[:, 0], ends[:, 1])), shape=(len(mesh.vertices),) * 2)
    _, labels = connected_components(links, directed=False)
    parts, index = torch.unique(torch.from_numpy(labels[faces[:, 0]]), return_inverse=True)
    return len(parts), index.to(mesh.faces.device)


def check_mesh(mesh: Mesh) -> MeshFacts:
    """Facts that tell a closed mesh from a broken one. Nothing is repaired.

    Args:
        mesh: Any.

    Returns:
        Whether it is watertight, and of how many pieces it is.

    Example:
        >>> check_mesh(Mesh(torch.eye(3), torch.tensor([[0, 1, 2]])))
        MeshFacts(watertight=False, components=1)
    """
    count, _ = face_components(mesh)
    return MeshFacts(is_watertight(mesh), count)


def select_faces(mesh: Mesh, keep: Tensor) -> Mesh:
    """The faces where keep [F] bool holds, and the vertices that they use."""
    used, faces = torch.unique(mesh.faces[keep], return_inverse=True)
    return Mesh(mesh.vertices[used], faces)


def keep_large_components(mesh: Mesh, least_share: float = 1.0) -> Mesh:
    """Drop floating pieces.

    Args:
        mesh: Any.
        least_share: Pieces with less than this share of the largest piece's area are dropped. At 1, one piece stays.

    Returns:
        What stays, without unused vertices.
    """
    count, part = face_components(mesh)
    areas = torch.zeros(count, device=part.device).index_add(0, part, mesh.area_vectors().detach().norm(dim=-1).float())
    keep = areas >= least_share * areas.max()
    if least_share >= 1:
        keep = torch.arange(count, device=part.device) == areas.argmax()
    return select_faces(mesh, keep[part])


def sample_surface(mesh: Mesh, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Spread points evenly over the surface at random.

    Args:
        mesh: Any with an area.
        count: N, how many.
        generator: Where chance comes from.

    Returns:
        The points [N, 3], and the face of each [N].
    """
    areas = mesh.area_vectors().detach().norm(dim=-1)
    face = torch.multinomial(areas, count, replacement=True, generator=generator)
    u, v = torch.rand(2, count, generator=generator, dtype=areas.dtype, device=areas.device)
    outside = u + v > 1
    u, v = torch.where(outside, 1 - u, u), torch.where(outside, 1 - v, v)
    a, b, c = mesh.corners()[face].unbind(dim=1)
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), face


def neighbour_means(vertices: Tensor, edges: Tensor) -> Tensor:
    """The mean of each vertex's neighbours: [V, 3]; the vertex itself where it has none."""
    ends = torch.cat([edges, edges.flip(1)])
    total = torch.zeros_like(vertices).index_add(0, ends[:, 0], vertices[ends[:, 1]])
    count = torch.zeros(len(vertices), dtype=vertices.dtype, device=vertices.device)
    count = count.index_add(0, ends[:, 0], torch.ones_like(ends[:, 0], dtype=vertices.dtype))
    return torch.where(count[:, None] > 0, total / count.clamp_min(1)[:, None], vertices)


#: How hastily edges are collapsed, until few enough are left: haste pinches thin surfaces.
AGGRESSIVENESS = (3, 5, 7)


def simplify(mesh: Mesh, most_faces: int) -> Mesh:
    """Collapse edges by least quadric error. Not differentiable.

    Args:
        mesh: Any.
        most_faces: How many are left at most.

    Returns:
        The simpler mesh; the same one if it is simple enough.
    """
    if len(mesh.faces) <= most_faces:
        return mesh
    from fast_simplification import simplify as collapse

    before = mesh.vertices.detach().cpu().float().numpy(), mesh.faces.cpu().numpy()
    for aggressiveness in AGGRESSIVENESS:
        vertices, faces = collapse(*before, target_count=most_faces, agg=aggressiveness)
        if len(faces) <= most_faces:
            break
    return Mesh(torch.from_numpy(vertices).to(mesh.vertices), torch.from_numpy(faces).to(mesh.faces))
