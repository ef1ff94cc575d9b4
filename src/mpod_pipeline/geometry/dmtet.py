"""DMTet: a shape as signed distances on a tetrahedral grid whose vertices may move (Shen et al. 2021).

Signed distances are positive inside, in world units.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree
from torch import Tensor, nn

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.marching_tetrahedra import marching_tetrahedra
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.tetrahedra import TetrahedralGrid, box_grid, sign_components
from mpod_pipeline.rendering.backend import Backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize

#: Voxels a side in which a field's extent, level and loose pieces are looked for.
VOXELS = 64
#: Levels tried, from faint to the field's densest, and again around the best.
LEVELS = 12
#: Loose pieces smaller than this share of the largest one are left out.
LEAST_PIECE = 0.05
#: Room round the shape for it to grow, as a share of its longest side.
MARGIN = 0.1
#: Distances beyond so many cells are not worth measuring.
BAND = 3
#: Points asked for at a time.
CHUNK = 1 << 18

NO_SURFACE = "The outline is empty: no part of it is dense enough to be a surface."


class DMTet(nn.Module):
    """A grid's signed distances and offsets as parameters.

    A vertex moves by at most a quarter of a cell along each axis: less than half the way to its nearest neighbour, so
    that tetrahedra keep their orientation. The grid's hull is outside always, so that the surface is closed.
    """

    grid_vertices: Tensor
    tetrahedra: Tensor
    boundary: Tensor

    def __init__(self, grid: TetrahedralGrid, sdf: Tensor, backend: Backend = "numba") -> None:
        """sdf: [V], positive inside."""
        super().__init__()
        self.cell, self.backend = grid.cell, backend
        # not part of the state: at full size they are most of it, and whoever makes the shape again makes them too
        self.register_buffer("grid_vertices", grid.vertices, persistent=False)
        self.register_buffer("tetrahedra", grid.tetrahedra, persistent=False)
        self.register_buffer("boundary", grid.boundary, persistent=False)
        self.sdf = nn.Parameter(sdf.clone())  # [V]
        self.offsets = nn.Parameter(torch.zeros_like(grid.vertices))  # [V, 3]

    def vertices(self) -> Tensor:
        """Where the grid's vertices are now: [V, 3]."""
        return self.grid_vertices + 0.25 * self.cell * self.offsets.tanh()

    def mesh(self) -> Mesh:
        """The surface, closed and outward, differentiable in sdf and offsets. Raises ProductError if there is none."""
        sdf = torch.where(self.boundary, -self.cell, self.sdf)
        mesh = marching_tetrahedra(self.vertices(), self.tetrahedra, sdf, self.backend)
        if len(mesh.faces) == 0:
            raise ProductError(NO_SURFACE)
        return mesh

    @classmethod
    def from_density(
        cls,
        density: Callable[[Tensor], Tensor],
        bound: float,
        resolution: int,
        *,
        masks: Tensor | None = None,
        cameras: Cameras | None = None,
        backend: Backend = "numba",
    ) -> DMTet:
        """The surface of a density field, on a grid fitted to its extent.

        density: points [N, 3] -> [N], per world unit. bound: the field fills [-bound, bound]³. resolution: the grid has
        about resolution³ vertices. masks: [B, H, W] opacities or masks that cameras (B of them) see.

        The level is the one whose solid has the silhouettes closest to the masks (intersection over union), or without
        masks to those of the field itself along the axes. Pieces under LEAST_PIECE of the largest are left out, hollows
        and pinholes are filled. Raises ProductError if nothing is dense enough to be a surface.
        """
        device = masks.device if masks is not None else torch.device("cpu")

        def ask(points: Tensor) -> Tensor:
            with torch.no_grad():
                values = torch.cat([density(chunk.to(device)) for chunk in points.split(CHUNK)]).cpu().float()
            if not bool(values.isfinite().all()):
                raise ProductError("The outline's density is not a number in places.")
            return torch.where((points.abs() <= bound).all(dim=-1), values, 0.0)

        ticks = ((torch.arange(VOXELS) + 0.5) / VOXELS * 2 - 1) * bound
        voxels = torch.stack(torch.meshgrid(ticks, ticks, ticks, indexing="ij"), dim=-1)
        samples = ask(voxels.reshape(-1, 3)).reshape(VOXELS, VOXELS, VOXELS).numpy()
        if masks is None:
            level = _best_level(samples, _axis_agreement(samples, 2 * bound / VOXELS))
        else:
            if cameras is None:
                raise ValueError("masks need the cameras that see them")
            level = _best_level(samples, _mask_agreement(ask, bound, masks.cpu().float(), cameras.to("cpu")))
        grid = _fitted_grid(_without_crumbs(samples > level), bound, resolution)
        sdf = _as_distances(_tidy(_without_pinholes(_above(ask(grid.vertices), level), grid), grid), grid)
        return cls(grid.to(device), sdf.to(device), backend)


def _best_level(samples: NDArray[np.float32], agreement: Callable[[float], float]) -> float:
    """The level with the best agreement: first over the field's whole range, then between the best one's neighbours."""
    densest = float(samples.max())
    if densest <= 0:
        raise ProductError(NO_SURFACE)
    levels = np.geomspace(1e-3 * densest, 0.9 * densest, LEVELS)
    for _ in range(2):
        scores = [agreement(float(level)) for level in levels]
        best = int(np.argmax(scores))
        found, score = float(levels[best]), scores[best]
        levels = np.linspace(levels[max(0, best - 1)], levels[min(LEVELS - 1, best + 1)], LEVELS)
    if score <= 0:
        raise ProductError(NO_SURFACE)
    return found


def _above(density: Tensor, level: float) -> Tensor:
    """How far densities are above a level, as a bounded logarithm.

    Densities rise steeply: on an edge from 0 to ten times the level, a linear crossing would lie near the empty end.
    """
    return (density / level).clamp_min(1e-9).log().clamp(-2, 2)


def _overlap(a: NDArray, b: NDArray) -> float:
    """Intersection over union; 0 where there is nothing at all."""
    return float(np.sum(a & b) / max(1, np.sum(a | b)))


def _axis_agreement(samples: NDArray[np.float32], step: float) -> Callable[[float], float]:
    """How well a level's silhouettes along the axes agree with the field's own opacity >= 0.5 (Eq. 3-5)."""
    seen = [1 - np.exp(-samples.sum(axis=axis) * step) >= 0.5 for axis in range(3)]

    def agreement(level: float) -> float:
        solid = samples > level
        return float(np.mean([_overlap(np.any(solid, axis=axis), seen[axis]) for axis in range(3)]))

    return agreement


def _mask_agreement(
    ask: Callable[[Tensor], Tensor], bound: float, masks: Tensor, cameras: Cameras
) -> Callable[[float], float]:
    """How well a level's rendered silhouettes agree with masks [B, H, W]."""
    grid = box_grid(torch.full((3,), -bound), torch.full((3,), bound), VOXELS // 2)
    at_vertices = torch.where(grid.boundary, 0.0, ask(grid.vertices))  # [V]
    small = torch.nn.functional.interpolate(masks[:, None], size=(VOXELS, VOXELS), mode="area")[:, 0]
    seen = (small >= 0.5).numpy()

    def agreement(level: float) -> float:
        mesh = marching_tetrahedra(grid.vertices, grid.tetrahedra, _above(at_vertices, level))
        if len(mesh.faces) == 0:
            return 0.0
        opacity = rasterize(mesh.vertices, mesh.faces, mesh.vertices, cameras, VOXELS).opacity
        return _overlap((opacity >= 0.5).numpy(), seen)

    return agreement


def _without_crumbs(solid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The pieces of voxels that are large enough. Raises ProductError if there is none."""
    labels, count = ndimage.label(solid, structure=np.ones((3, 3, 3)))
    if count == 0:
        raise ProductError(NO_SURFACE)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    kept: NDArray[np.bool_] = sizes >= LEAST_PIECE * sizes.max()
    return kept[labels]


def _fitted_grid(solid: NDArray[np.bool_], bound: float, resolution: int) -> TetrahedralGrid:
    """A grid over the box of a solid's voxels, with room to grow."""
    where = np.argwhere(solid)
    low, high = (torch.from_numpy(edge / VOXELS * 2 - 1) * bound for edge in (where.min(0), where.max(0) + 1))
    room = MARGIN * float((high - low).max())
    return box_grid(low - room, high + room, resolution)


def _without_pinholes(raw: Tensor, grid: TetrahedralGrid) -> Tensor:
    """Turn the sign of raw [V] in holes and slits of about a cell: thin walls have such where a field is foggy.

    That is a morphological closing by the tetrahedra round each vertex.
    """
    inside = raw > 0

    def beside(some: Tensor) -> Tensor:
        """Them, and all that share a tetrahedron with them."""
        wide = some.clone()
        wide[grid.tetrahedra[some[grid.tetrahedra].any(dim=1)]] = True
        return wide

    closed = ~beside(~beside(inside))
    return torch.where(closed & ~inside, -raw, raw)


def _tidy(raw: Tensor, grid: TetrahedralGrid) -> Tensor:
    """Turn the sign of raw [V] where it makes crumbs (outside) or hollows (inside); the hull is outside."""
    raw = torch.where(grid.boundary, -raw.abs() - 1e-6, raw)
    inside, hull = (raw > 0).numpy(), grid.boundary.numpy()
    part = sign_components(grid.tetrahedra.numpy(), inside)  # [V]
    size = np.bincount(part, minlength=len(part))
    crumb = size < LEAST_PIECE * size[part[inside]].max(initial=0)
    open_air = np.zeros(len(part), bool)
    open_air[part[hull]] = True
    turned = np.where(inside, crumb[part], ~open_air[part])
    return torch.where(torch.from_numpy(turned), -raw, raw)


def _as_distances(raw: Tensor, grid: TetrahedralGrid) -> Tensor:
    """Signed distances [V], within BAND cells, to the zero level of a field [V] of any scale."""
    surface = marching_tetrahedra(grid.vertices, grid.tetrahedra, raw)
    if len(surface.faces) == 0:
        raise ProductError(NO_SURFACE)
    band = BAND * grid.cell
    points, normals = surface.vertices.numpy(), surface.vertex_normals().numpy()
    vertices = grid.vertices.numpy()
    distance, nearest = cKDTree(points).query(vertices, distance_upper_bound=band)
    measured = np.isfinite(distance)
    at = nearest[measured]
    to_plane = np.abs(((points[at] - vertices[measured]) * normals[at]).sum(axis=1))
    # the plane of the nearest vertex tells the distance, except for points off an edge or a corner
    flat = (distance[measured] < grid.cell) | (to_plane > 0.7 * distance[measured])
    distance[measured] = np.where(flat, to_plane, distance[measured])
    magnitude = torch.from_numpy(np.clip(distance, 0.02 * grid.cell, band)).float()
    return torch.where(raw > 0, magnitude, -magnitude)
