"""Triangle meshes: their measures, their connected parts, smoothing, sampling and simplification.

Faces are counter-clockwise seen from outside. Lengths are world units.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize


@dataclass(frozen=True)
class Mesh:
    """vertices: [V, 3] float. faces: [F, 3] int64, counter-clockwise from outside."""

    vertices: Tensor
    faces: Tensor

    def corners(self) -> Tensor:
        """The faces' vertices: [F, 3, 3]."""
        return self.vertices[self.faces]

    def area_vectors(self) -> Tensor:
        """Outward normals of the faces, as long as the faces are large: [F, 3]."""
        a, b, c = self.corners().unbind(dim=1)
        vectors: Tensor = torch.linalg.cross(b - a, c - a) / 2
        return vectors

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
        area: Tensor = self.area_vectors().norm(dim=-1).sum()
        return area

    def volume(self) -> Tensor:
        """The volume inside a closed mesh, a scalar (divergence theorem); negative if it is inside out."""
        return (self.corners()[:, 0] * self.area_vectors()).sum() / 3

    def edges(self) -> Tensor:
        """Every edge once: [E, 2], the smaller index first."""
        edges: Tensor = torch.unique(_directed_edges(self.faces).sort(dim=1).values, dim=0)
        return edges

    def detach(self) -> Mesh:
        return Mesh(self.vertices.detach(), self.faces)


@dataclass(frozen=True)
class MeshFacts:
    """What ``check_mesh`` found. Euler number: V - E + F over used vertices, 2 - 2 * genus for a closed
    surface.
    """

    watertight: bool
    components: int
    degenerate_faces: int
    euler_number: int


def _directed_edges(faces: Tensor) -> Tensor:
    """The faces' sides in their sense of rotation: [3 F, 2], side k of face f in row k F + f."""
    return torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])


def adjacent_faces(faces: Tensor) -> Tensor:
    """Pairs of faces that share an edge: [P, 2]. Edges with one face, or more than two, give none."""
    sides = _directed_edges(faces).sort(dim=1).values
    _, edge, count = torch.unique(sides, dim=0, return_inverse=True, return_counts=True)
    order = torch.argsort(edge, stable=True)
    start = count.cumsum(0) - count
    first = start[count == 2]
    return torch.stack([order[first], order[first + 1]], dim=1) % len(faces)


def is_watertight(mesh: Mesh) -> bool:
    """Whether every edge has two faces, which pass it in opposite senses."""
    sides = _directed_edges(mesh.faces)
    ordered = sides.sort(dim=1)
    _, edge, count = torch.unique(ordered.values, dim=0, return_inverse=True, return_counts=True)
    sense = torch.zeros(len(count), dtype=torch.int64, device=sides.device)
    sense.index_add_(0, edge, 1 - 2 * ordered.indices[:, 0])
    return len(sides) > 0 and bool((count == 2).all()) and bool((sense == 0).all())


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
    """Facts that tell a printable, closed mesh from a broken one; nothing is repaired."""
    count, _ = face_components(mesh)
    used = torch.unique(mesh.faces).numel()
    longest = (mesh.corners() - mesh.corners().roll(1, dims=1)).norm(dim=-1).amax(dim=1)
    # a face flatter than a millionth of its longest side has no normal in float32
    flat = mesh.area_vectors().norm(dim=-1) <= 1e-6 * longest.square()
    euler = used - len(mesh.edges()) + len(mesh.faces)
    return MeshFacts(is_watertight(mesh), count, int(flat.sum()), euler)


def select_faces(mesh: Mesh, keep: Tensor) -> Mesh:
    """The faces where keep [F] bool holds, and the vertices that they use."""
    used, faces = torch.unique(mesh.faces[keep], return_inverse=True)
    return Mesh(mesh.vertices[used], faces)


def keep_large_components(mesh: Mesh, least_share: float = 1.0) -> Mesh:
    """Drop floating pieces: parts with less than ``least_share`` of the largest part's area. At 1, one part
    stays.
    """
    count, part = face_components(mesh)
    areas = torch.zeros(count, device=part.device).index_add(
        0, part, mesh.area_vectors().detach().norm(dim=-1).float()
    )
    keep = areas >= least_share * areas.max()
    if least_share >= 1:
        keep = torch.arange(count, device=part.device) == areas.argmax()
    return select_faces(mesh, keep[part])


def sample_surface(mesh: Mesh, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Points spread evenly over the surface at random: [N, 3], and their faces [N]."""
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


def smooth(mesh: Mesh, rounds: int, inwards: float = 0.5, outwards: float = 0.53) -> Mesh:
    """Taubin's smoothing: a step towards the neighbours' mean, then a slightly longer one back, so nothing
    shrinks.
    """
    edges, vertices = mesh.edges(), mesh.vertices
    for _ in range(rounds):
        for step in (inwards, -outwards):
            vertices = vertices + step * (neighbour_means(vertices, edges) - vertices)
    return Mesh(vertices, mesh.faces)


def simplify(mesh: Mesh, most_faces: int) -> Mesh:
    """Collapse edges by least quadric error until at most ``most_faces`` are left. Not differentiable."""
    if len(mesh.faces) <= most_faces:
        return mesh
    from fast_simplification import simplify as collapse

    vertices, faces = collapse(
        mesh.vertices.detach().cpu().float().numpy(),
        mesh.faces.cpu().numpy(),
        target_count=most_faces,
    )
    return Mesh(torch.from_numpy(vertices).to(mesh.vertices), torch.from_numpy(faces).to(mesh.faces))
