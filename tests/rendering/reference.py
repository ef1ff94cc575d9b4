"""The rasteriser by brute force: every pixel against every face, gradients by autograd."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.raster import Raster
from mpod_pipeline.rendering.rasterize.zbuffer import INSIDE, NEAR


def _cross2(u: Tensor, v: Tensor) -> Tensor:
    return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]


def _surface(points: Tensor, faces: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Face [H, W] (-1 outside), barycentrics in it [H, W, 3], depth [H, W]. points: [V, 3] NDC, depth."""
    centres = (torch.arange(size, dtype=points.dtype) + 0.5) * 2 / size - 1
    pixels = torch.stack(torch.meshgrid(-centres, centres, indexing="ij")[::-1], dim=-1)  # [H, W, 2]
    corners = points[faces]  # [F, 3, 3]
    to = corners[:, :, :2] - pixels[:, :, None, None]  # [H, W, F, 3, 2]
    areas = torch.stack([_cross2(to[..., (i + 1) % 3, :], to[..., (i + 2) % 3, :]) for i in range(3)], dim=-1)
    on_screen = areas / areas.sum(-1, keepdim=True)
    inside = (on_screen >= INSIDE).all(-1) & (corners[:, :, 2] >= NEAR).all(-1)
    weights = on_screen / corners[:, :, 2]
    depth = 1 / weights.sum(-1)  # [H, W, F]
    nearest = torch.where(inside, depth, torch.inf).min(dim=-1)
    face = torch.where(nearest.values.isfinite(), nearest.indices, -1)
    chosen = face.clamp_min(0)[..., None]
    barycentric = (weights * depth[..., None]).gather(2, chosen[..., None].expand(-1, -1, -1, 3))[:, :, 0]
    return face, barycentric, depth.gather(2, chosen)[..., 0]


def _outermost_crossing(edges: Tensor, axis: int, covered: tuple[int, int], other: tuple[int, int]) -> Tensor:
    """Distance from the covered pixel's centre to the outline between two neighbours; nan where none serves.

    edges: [E, 2, 2] pixel coordinates (x, y). Pixels are (row, column). axis: 0 for neighbours in a row.
    """
    line, start = (covered[0], covered[1]) if axis == 0 else (covered[1], covered[0])
    step = (other[1] - covered[1]) + (other[0] - covered[0])
    p, q = edges[:, :, axis], edges[:, :, 1 - axis]
    spans = (q - (line + 0.5)).sign().prod(-1) <= 0
    run, rise = p[:, 1] - p[:, 0], q[:, 1] - q[:, 0]
    rise = torch.where(rise == 0, torch.nan, rise)
    distance = step * (p[:, 0] + (line + 0.5 - q[:, 0]) * run / rise - (start + 0.5))
    candidates = torch.where(spans & (distance >= 0) & (distance <= 1), distance, -1.0).nan_to_num(-1.0)
    best = candidates.argmax()
    serves = (run / rise)[best].abs() <= 1 if axis == 0 else (run / rise)[best].abs() < 1
    return distance[best] if bool(candidates[best] >= 0) and bool(serves) else distance.new_tensor(torch.nan)


def _soften(points: Tensor, faces: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
    """Opacity [H, W], and for each pixel the flat index [H, W] of the one whose attributes it shows."""
    size = face.shape[0]
    screen = torch.stack([(1 + points[:, 0]) * size / 2, (1 - points[:, 1]) * size / 2], dim=-1)
    drawn = faces[(points[faces][:, :, 2] >= NEAR).all(-1)]
    edges = screen[torch.cat([drawn[:, [0, 1]], drawn[:, [1, 2]], drawn[:, [2, 0]]])]  # [E, 2, 2]
    changes: dict[tuple[int, int], list[Tensor]] = {}
    shown = torch.arange(size * size).reshape(size, size)
    for row in range(size):
        for column in range(size):
            for axis, neighbour in ((0, (row, column + 1)), (1, (row + 1, column))):
                here = (row, column)
                if max(neighbour) == size or bool(face[here] >= 0) == bool(face[neighbour] >= 0):
                    continue
                covered, other = (here, neighbour) if face[here] >= 0 else (neighbour, here)
                distance = _outermost_crossing(edges, axis, covered, other)
                if distance.isnan():
                    continue
                changed = other if distance > 0.5 else covered
                if changed == other and other not in changes:
                    shown[other] = covered[0] * size + covered[1]
                changes.setdefault(changed, []).append(distance - 0.5)
    opacity = (face >= 0).to(points.dtype)
    for pixel, amounts in changes.items():
        mask = torch.zeros_like(opacity)
        mask[pixel] = 1
        opacity = opacity + mask * torch.stack(amounts).sum()
    return opacity.clamp(0, 1), shown


def rasterize(vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int) -> Raster:
    """See ``mpod_pipeline.rendering.rasterize.rasterize``. Works in the dtype of its input."""
    pictures, opacities, indices, depths = [], [], [], []
    for points in cameras.project(vertices):
        face, barycentric, depth = _surface(points, faces, resolution)
        opacity, shown = _soften(points, faces, face)
        hit = (face >= 0).to(points.dtype)
        values = torch.einsum("hwi,hwic->hwc", barycentric, attributes[faces[face.clamp_min(0)]])
        picture = (values * hit[..., None]).reshape(-1, attributes.shape[1])[shown]
        pictures.append(picture)
        opacities.append(opacity)
        indices.append(face)
        depths.append((depth * hit).detach())
    return Raster(torch.stack(pictures), torch.stack(opacities), torch.stack(indices), torch.stack(depths))
