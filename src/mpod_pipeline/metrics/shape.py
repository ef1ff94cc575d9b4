"""Shape that views from the side do not tell: how full a body is, and how deep it goes in from above.

A body is any mesh. Parts may overlap, and holes need not be closed, so nothing is asked of its topology. It is looked
at along parallel rays. Faces are seen from their outer side alone, as glTF has it: a look through a hole at the back of
a face sees nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize, rasterize_numpy

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Voxels along the longest side of the box round two bodies.
VOXELS = 64
#: Looks at a body, spread over the sphere, beside those along the axes; pixels a side of each.
LOOKS = 90
PIXELS = 256
#: Columns along the longer side of a body's ground plan, in which water stands.
COLUMNS = 128
#: What so small a share of the ground plan holds is a puddle.
PUDDLE = 0.02
#: A body is hollow whose opening goes down by more than this share of its height.
HOLLOW = 0.1
#: Views from above, in which depths are compared: elevations (degrees) and as many azimuths at each, pixels a side.
ABOVE_DEG = (45.0, 57.5, 70.0)
AZIMUTHS = 4
DEPTH_PIXELS = 128
#: From so far away perspective is parallel.
FAR = 100.0


@dataclass(frozen=True)
class Box:
    """Low and high corner, [3] each."""

    low: Array
    high: Array

    @classmethod
    def round(cls, *bodies: Mesh) -> Box:
        points = np.concatenate([_vertices(body) for body in bodies])
        return cls(points.min(0), points.max(0))

    @property
    def size(self) -> Array:
        return self.high - self.low


def volume_iou(made: Mesh, true: Mesh) -> float:
    """Intersection over union of the volumes of two bodies, on a grid of `VOXELS` along the longest side.

    Args:
        made: The body to be scored.
        true: The true one, in the same place and scale.

    Returns:
        In [0, 1]; 0 where neither has a volume.
    """
    box = Box.round(made, true)
    pitch = float(box.size.max()) / VOXELS
    ticks = [
        low + (np.arange(np.ceil(side / pitch)) + 0.5) * pitch for low, side in zip(box.low, box.size, strict=True)
    ]
    points = np.stack(np.meshgrid(*ticks, indexing="ij"), -1).reshape(-1, 3).astype(np.float32)
    a, b = solid(made, points), solid(true, points)
    return float((a & b).sum() / max(1, (a | b).sum()))


def solid(body: Mesh, points: Array) -> Mask:
    """Whether points [N, 3] lie where no look from outside reaches, [N].

    Looks see as far as the first face; by a pixel less far, so that a wall of some pixels stays whole.
    """
    vertices, faces = _vertices(body), body.faces.cpu().numpy()
    box = Box.round(body)
    middle, radius = (box.low + box.high) / 2, np.float32(1.01 * np.linalg.norm(box.size) / 2)
    inside: Mask = np.all((points >= box.low) & (points <= box.high), axis=1)
    for axes in _looks():
        left = np.flatnonzero(inside)
        if len(left) == 0:
            break
        seen = ((vertices - middle) / radius @ axes).astype(np.float32)
        nearest = _least_of_four(_reach(seen, faces))
        x, y, depth = ((points[left] - middle) / radius @ axes).T
        column, row = (np.floor((value + 1) / 2 * PIXELS + 0.5).astype(int).clip(0, PIXELS) for value in (x, -y))
        inside[left] = depth >= nearest[row, column]
    return inside


def _reach(points: Array, faces: NDArray[np.integer]) -> Array:
    """How far parallel rays see [PIXELS, PIXELS] along z; not at all where the first face shows its back."""
    index, _, depth = rasterize_numpy(points + np.array([0, 0, FAR], np.float32), faces, PIXELS, PIXELS)
    a, b, c = (points[faces[:, k], :2] for k in range(3))
    (x, y), (u, v) = (b - a).T, (c - a).T
    back = (x * v - y * u <= 0)[index]
    return np.where(index < 0, np.inf, np.where(back, -np.inf, depth - FAR))


def _least_of_four(picture: Array) -> Array:
    """The least of the pixels round each corner of pixels, [H + 1, W + 1]; beyond the border there is nothing."""
    padded = np.pad(picture, 1, constant_values=np.inf)
    return np.minimum.reduce([padded[:-1, :-1], padded[1:, :-1], padded[:-1, 1:], padded[1:, 1:]])


def _looks() -> list[Array]:
    """Axes (right, up, forward) as columns [3, 3] of looks along the axes and from all round."""
    i = np.arange(LOOKS) + 0.5
    z, angle = 1 - 2 * i / LOOKS, i * np.pi * (1 + 5**0.5)
    level = np.sqrt(1 - z * z)
    spread = np.stack([level * np.cos(angle), level * np.sin(angle), z], -1)
    return [_axes(forward) for forward in (*np.eye(3), *-np.eye(3), *spread)]


def _axes(forward: NDArray[np.floating]) -> Array:
    right = np.cross(forward, [0.0, 0.0, 1.0] if abs(forward[2]) < 0.9 else [1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(right, forward), forward], -1).astype(np.float32)


def opening_depth(body: Mesh) -> float:
    """How deep a body is hollow from above: the depth of the water that it holds, filled to the lowest point of its
    rim.

    The deepest `PUDDLE` of its ground plan does not count.

    Args:
        body: Upright, +z up.

    Returns:
        A share of its height; 0 for a solid body.
    """
    box = Box.round(body)
    height, water = _water(body, box)
    plan = water[np.isfinite(height)]
    if len(plan) == 0 or box.size[2] <= 0:
        return 0.0
    return float(np.quantile(plan, 1 - PUDDLE) / box.size[2])


def cavity_depth(made: Mesh, true: Mesh) -> float | None:
    """How deep a body is hollow where the true one is.

    Water is poured into both. The sum over the columns of the lesser depth of the two is divided by the sum of the true
    depths. Water that runs out of the made one, through a gap in its wall, counts for nothing.

    Args:
        made: The body to be scored.
        true: The true one, in the same place and scale; upright, +z up.

    Returns:
        A share of the true depth, in [0, 1]; None where the true one is not hollow.
    """
    if opening_depth(true) <= HOLLOW:
        return None
    box = Box.round(made, true)
    a, b = _water(made, box)[1], _water(true, box)[1]
    return float(np.minimum(a, b).sum() / b.sum())


def _water(body: Mesh, box: Box) -> tuple[Array, Array]:
    """How high a body is over each column of a box's ground plan, seen from above, and how deep water stands on it.

    [COLUMNS + 2, COLUMNS + 2] each.
    """
    half = box.size[:2].max() / 2 * (COLUMNS + 2) / COLUMNS
    middle = (box.low + box.high) / 2
    seen = ((_vertices(body) - middle) / [half, half, -1] + [0, 0, FAR]).astype(np.float32)
    index, _, depth = rasterize_numpy(seen, body.faces.cpu().numpy(), COLUMNS + 2, COLUMNS + 2)
    height = np.where(index >= 0, FAR - depth, -np.inf)
    # Beside the frame water runs off; inwards its level sinks until each column's is held by a neighbour's.
    level = np.full_like(height, height.max())
    level[[0, -1], :] = level[:, [0, -1]] = -np.inf
    cross = ndimage.generate_binary_structure(2, 1)
    while True:
        lower = np.maximum(height, ndimage.minimum_filter(level, footprint=cross, mode="constant", cval=-np.inf))
        if (lower == level).all():
            return height, np.where(index >= 0, level, 0) - np.where(index >= 0, height, 0)
        level = lower


def depth_error(made: Mesh, true: Mesh) -> float:
    """Mean absolute difference of the depths that cameras from above see, where both bodies are.

    Args:
        made: The body to be scored.
        true: The true one, in the same place and scale.

    Returns:
        World units; not a number where they share no pixel.
    """
    azimuths = torch.arange(AZIMUTHS).float() * 360 / AZIMUTHS
    cameras = Cameras.at(azimuths.repeat(len(ABOVE_DEG)), torch.tensor(ABOVE_DEG).repeat_interleave(AZIMUTHS))
    a, b = (rasterize(body.vertices, body.faces, body.vertices, cameras, DEPTH_PIXELS).depth for body in (made, true))
    return float((a - b).abs()[(a > 0) & (b > 0)].mean())


def _vertices(body: Mesh) -> Array:
    return body.vertices.detach().cpu().float().numpy()
