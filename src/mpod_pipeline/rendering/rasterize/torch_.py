"""The rasteriser in plain PyTorch, on any device that has float64: pixels by a scatter, gradients by autograd.

It has the definitions of the CPU's kernels, to the last pixel: which face a pixel sees (zbuffer.py), and the coverage
at outlines (silhouettes.py). A face meets only the pixels of its own box, which are few in a fine mesh. The nearest
face of a pixel is the largest of numbers that hold a nearness and a face (``scatter_reduce``). No loop runs over faces.

Memory is bounded: views are drawn one after another, and some 200 MB of pairs of a face and a pixel are looked at at a
time. A view waits for the device five times, for sizes that depend on the data: pairs, covered pixels, faces near an
outline, their crossings, and those of them that count.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.raster import Raster
from mpod_pipeline.rendering.rasterize.zbuffer import INSIDE, NEAR

#: Pairs of a face and a pixel of its box that are looked at together: some 200 bytes each.
PAIRS_AT_ONCE = 1 << 20
#: Lower half of a number that holds a nearness and a face.
LOW = (1 << 32) - 1


def rasterize(vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int) -> Raster:
    """See ``mpod_pipeline.rendering.rasterize.rasterize``."""
    projected = cameras.project(vertices.float()).double()  # [B, V, 3]
    views = [_view(points, faces, attributes.float(), resolution) for points in projected]
    return Raster(*(torch.stack(pictures) for pictures in zip(*views, strict=True)))


def _view(points: Tensor, faces: Tensor, attributes: Tensor, size: int) -> tuple[Tensor, ...]:
    """Attributes [H, W, C], opacity [H, W], face [H, W] and depth [H, W] of one view, from its points [V, 3]."""
    planes, orientation = _planes(points, faces)
    with torch.no_grad():
        seen = _nearest(points, faces, planes, orientation, size)  # [H * W]
    pixels = (seen >= 0).nonzero()[:, 0]
    values, depth = _surface(planes, faces, attributes, seen[pixels], pixels, size)
    outline = _outline(points, faces, seen >= 0, size)
    opacity = (seen >= 0).float().index_add(0, outline.pixel, outline.change).clamp(0, 1)
    slot = torch.zeros_like(seen).index_copy(0, pixels, torch.arange(len(pixels), device=pixels.device))
    values = torch.cat([values, values.index_select(0, slot[outline.covered])])
    # a row more, for those that no pixel shows
    picture = values.new_zeros(size * size + 1, values.shape[1])
    picture = picture.index_copy(0, torch.cat([pixels, outline.shown_at]), values)[:-1]
    distance = torch.zeros_like(opacity).index_copy(0, pixels, depth)
    frame = (size, size)
    return picture.view(*frame, -1), opacity.view(frame), seen.int().view(frame), distance.view(frame)


def _planes(points: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The inverses [F, 3, 3] of the faces' V (see zbuffer.py), and whether a face turns counter-clockwise to the camera
    (1), clockwise (-1), or is not drawn (0): edge-on, too near, or not a number. [F]
    """
    xy, depth = points[:, :2], points[:, 2:]
    corners = _of_faces(torch.cat([xy * depth, depth], dim=1), faces)  # [F, 3, 3]
    a, b, c = corners.unbind(dim=1)
    rows = torch.stack([torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=1)
    determinant = (a * rows[:, 0]).sum(dim=1)
    orientation = torch.where(_in_front(points, faces), determinant.detach().sign(), 0.0).nan_to_num()
    scale = 1 / torch.where(orientation == 0, 1.0, determinant)
    return rows * scale[:, None, None], orientation


def _of_faces(values: Tensor, faces: Tensor) -> Tensor:
    """Vertices' values [V, C] at the faces' corners [F, 3, C]."""
    return values.index_select(0, faces.flatten()).view(-1, 3, values.shape[1])


def _in_front(points: Tensor, faces: Tensor) -> Tensor:
    return points[:, 2].detach()[faces].amin(dim=1) >= NEAR


def _nearest(points: Tensor, faces: Tensor, planes: Tensor, orientation: Tensor, size: int) -> Tensor:
    """The face seen at each pixel's centre [H * W], -1 where there is none."""
    corners = _of_faces(_on_screen(points, size), faces)
    low = (corners.amin(dim=1) - 0.5).ceil().clamp(0, size).nan_to_num().long()  # [F, (column, row)]
    high = (corners.amax(dim=1) - 0.5).floor().clamp(-1, size - 1).nan_to_num().long()
    sides = (high - low + 1).clamp_min(0)
    area = torch.where(orientation == 0, 0, sides.prod(dim=1))
    ends = area.cumsum(dim=0)
    # Where two are equally near, the kernels keep the first of those that turn counter-clockwise, else the last.
    count = len(faces)
    index = torch.arange(count, device=faces.device)
    rank = torch.where(orientation > 0, index, 2 * count - 1 - index)
    best = torch.zeros(size * size, dtype=torch.long, device=faces.device)
    total = int(ends[-1]) if count else 0
    for start in range(0, total, PAIRS_AT_ONCE):
        pair = torch.arange(start, min(total, start + PAIRS_AT_ONCE), device=faces.device)
        face = torch.searchsorted(ends, pair, right=True)
        place = pair - (ends - area)[face]
        column, row = low[face, 0] + place % sides[face, 0], low[face, 1] + place // sides[face, 0]
        nearness = _barycentrics_by_depth(planes[face], column, row, size)  # [K, 3]
        inside = (nearness >= INSIDE).all(dim=1)
        bits = nearness.sum(dim=1).float().clamp_min(0).view(torch.int32).long()
        key = torch.where(inside & (bits > 0), (bits << 32) | (LOW - rank[face]), 0)
        best.scatter_reduce_(0, row * size + column, key, "amax")
    rank = LOW - (best & LOW)
    return torch.where(best > 0, torch.where(rank < count, rank, 2 * count - 1 - rank), -1)


def _barycentrics_by_depth(planes: Tensor, column: Tensor, row: Tensor, size: int) -> Tensor:
    """Barycentrics over depth [P, 3] at pixels' centres, of the faces that have these planes [P, 3, 3]."""
    half = size / 2
    x, y = (column.double() - (half - 0.5)) / half, ((half - 0.5) - row.double()) / half
    return planes[:, :, 0] * x[:, None] + planes[:, :, 1] * y[:, None] + planes[:, :, 2]


def _surface(
    planes: Tensor, faces: Tensor, attributes: Tensor, face: Tensor, pixels: Tensor, size: int
) -> tuple[Tensor, Tensor]:
    """Attributes [P, C] and depth [P] of the faces [P] that are seen at pixels [P]."""
    by_depth = _barycentrics_by_depth(planes.index_select(0, face), pixels % size, pixels // size, size)
    depth = 1 / by_depth.sum(dim=1, keepdim=True)
    barycentric = (by_depth * depth).float()
    corners = _of_faces(attributes, faces.index_select(0, face))
    return (barycentric[..., None] * corners).sum(dim=1), depth[:, 0].detach().float()


def _on_screen(points: Tensor, size: int) -> Tensor:
    """Points [V, 3] as columns and rows [V, 2], from 0 at the frame's upper left corner to ``size``."""
    return torch.stack([1 + points[:, 0], 1 - points[:, 1]], dim=1) * (size / 2)


class _Outline(NamedTuple):
    """Where outlines pass between two pixels, R times: the pixel whose opacity changes, and by how much; the one of the
    two that is covered, and which pixel outside shows its surface (``size²`` where none does).
    """

    pixel: Tensor
    change: Tensor
    covered: Tensor
    shown_at: Tensor


def _outline(points: Tensor, faces: Tensor, covered: Tensor, size: int) -> _Outline:
    """The outermost crossings between a covered pixel and one that is not (see silhouettes.py), pixel by pixel, first
    with the pixel at the right, then with the one below. covered: [H * W]. The change has a gradient to the points.
    """
    screen = _on_screen(points, size)
    with torch.no_grad():
        broken = _broken_pairs(covered.view(size, size))
        sides = _sides_near(points, screen, faces, broken)
        edges = torch.cat([sides, sides])  # for pairs in a row, and for those in a column
        axis = torch.arange(2, device=faces.device).repeat_interleave(len(sides))
        edge, line = _crossed_lines(screen, edges, axis, size)
        crossing, _ = _cross(screen, edges[edge], axis[edge], line)
        pixel, distance = _beside(crossing, axis[edge], line, covered, size)
        pair = 2 * pixel + axis[edge]
        counts = (crossing >= 0) & (crossing < size) & broken.flatten()[pair]
        chosen = _farthest(torch.where(counts, distance, -1.0), pair, 2 * size * size)
        edge, line = edge[chosen], line[chosen]
    crossing, slope = _cross(screen, edges[edge], axis[edge], line)
    pixel, distance = _beside(crossing, axis[edge], line, covered, size)
    with torch.no_grad():
        beyond = pixel + torch.where(axis[edge] == 0, 1, size)
        inner, outer = torch.where(covered[pixel], pixel, beyond), torch.where(covered[pixel], beyond, pixel)
        steep = torch.where(axis[edge] == 0, slope.abs() <= 1, slope.abs() < 1)
        outside = distance > 0.5
        record = torch.arange(len(pixel), device=pixel.device)
        first = torch.full_like(covered, len(pixel), dtype=torch.long)
        first.scatter_reduce_(0, outer, torch.where(outside & steep, record, len(pixel)), "amin")
        shown_at = torch.where(first[outer] == record, outer, size * size)
    change = torch.where(steep, distance - 0.5, 0.0).float()
    return _Outline(torch.where(outside, outer, inner), change, inner, shown_at)


def _broken_pairs(covered: Tensor) -> Tensor:
    """Whether of a pixel and the one at its right, and of it and the one below, one alone is covered: [H, W, 2]."""
    broken = covered.new_zeros(*covered.shape, 2)
    broken[:, :-1, 0] = covered[:, :-1] != covered[:, 1:]
    broken[:-1, :, 1] = covered[:-1] != covered[1:]
    return broken


def _sides_near(points: Tensor, screen: Tensor, faces: Tensor, broken: Tensor) -> Tensor:
    """The sides [3 N, 2] of those faces in front of the camera in whose box of pixels a pair is broken."""
    size = len(broken)
    corners = _of_faces(screen, faces)
    low = (corners.amin(dim=1) - 0.5).floor().clamp(0, size).nan_to_num().long()
    high = (corners.amax(dim=1) - 0.5).floor().clamp(-1, size - 1).nan_to_num().long() + 1
    sums = torch.nn.functional.pad(broken.any(dim=2).long(), (1, 0, 1, 0)).cumsum(dim=0).cumsum(dim=1)
    (left, top), (right, bottom) = low.unbind(dim=1), high.unbind(dim=1)
    within = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    near = (high > low).all(dim=1) & (within > 0) & _in_front(points, faces)
    return faces[near.nonzero()[:, 0]][:, [0, 1, 1, 2, 2, 0]].view(-1, 2)


def _crossed_lines(screen: Tensor, edges: Tensor, axis: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Which of the edges [E, 2] crosses which line through pixels' centres along its axis: two numbers [M] each."""
    across = _along(screen, edges, 1 - axis)  # [E, 2]
    first = (across.amin(dim=1) - 0.5).ceil().clamp(0, size).nan_to_num().long()
    last = (across.amax(dim=1) - 0.5).floor().clamp(-1, size - 1).nan_to_num().long()
    count = torch.where(across[:, 0] == across[:, 1], 0, (last - first + 1).clamp_min(0))
    edge = torch.arange(len(edges), device=edges.device).repeat_interleave(count)
    before = count.cumsum(dim=0) - count
    return edge, first[edge] + torch.arange(len(edge), device=edge.device) - before[edge]


def _along(screen: Tensor, edges: Tensor, axis: Tensor) -> Tensor:
    """The coordinates along an axis each [E] of edges' ends: [E, 2]."""
    ends = screen.index_select(0, edges.flatten()).view(-1, 2, 2)
    return torch.where(axis[:, None] == 0, ends[:, :, 0], ends[:, :, 1])


def _cross(screen: Tensor, edges: Tensor, axis: Tensor, line: Tensor) -> tuple[Tensor, Tensor]:
    """Where edges [M, 2] cross lines [M], from 0 at the first pixel's centre [M], and how they lean [M]."""
    p0, p1 = _along(screen, edges, axis).unbind(dim=1)
    q0, q1 = _along(screen, edges, 1 - axis).unbind(dim=1)
    position = (line + 0.5 - q0) / (q1 - q0)
    return p0 + position * (p1 - p0) - 0.5, (p1 - p0) / (q1 - q0)


def _beside(crossing: Tensor, axis: Tensor, line: Tensor, covered: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """The pixel [M] before a crossing, and how far the crossing lies from the pair's covered pixel [M]."""
    before = crossing.detach().floor()
    place = before.clamp(0, size - 1).long()
    pixel = torch.where(axis == 0, line * size + place, place * size + line)
    fraction = crossing - before
    return pixel, torch.where(covered[pixel], fraction, 1 - fraction)


def _farthest(distance: Tensor, pair: Tensor, pairs: int) -> Tensor:
    """Of each pair's crossings that with the largest distance [M], the first of equals; of no pair one below 0."""
    best = distance.new_full((pairs,), -1.0).scatter_reduce(0, pair, distance, "amax")
    number = torch.arange(len(pair), device=pair.device)
    serves = (distance == best[pair]) & (distance >= 0)
    none = len(pair)
    first = torch.full_like(best, none, dtype=torch.long)
    first = first.scatter_reduce(0, pair, torch.where(serves, number, none), "amin")
    return first[(first < none).nonzero()[:, 0]]
