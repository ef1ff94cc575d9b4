"""The photos' own pixels on the surface that they show.

Stage 2 sees a photo at its rendering resolution, and its colour field can hold no more than its grid. What a photo
shows in full is known, so a baked texture takes it from there, and leaves to the field what no photo shows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.method.cutouts import Cutout, Cutouts
from mpod_pipeline.rendering.backend import Backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize

#: Cosines between the surface's normal and the way to the camera, below which the photo counts for nothing, and from
#: which on it counts in full: seen at a slant, its pixels are smeared over the surface.
SLANT, FACING = 0.25, 0.55
#: Depths nearer than this to what the photo's camera sees there are seen by it, world units (a product is about 1.5).
SAME_DEPTH = 0.02
#: Pixels this near to an outline, or to a part that stands in front of another, may show something else.
MARGIN = 3
#: And over so many more the photo gains on the field.
BLEND = 8
#: Where several photos show a point, each counts by this power of how well it does: nearly the best one alone.
SHARPER = 4


def with_photos(
    colour: Callable[[Tensor], Tensor], mesh: Mesh, photos: Cutouts, backend: Backend = "numba"
) -> Callable[[Tensor], Tensor]:
    """Colours [N, 3] of surface points [N, 3]: a photo's where its camera sees them well, ``colour`` where none does,
    and a blend between.
    """
    sources = [_PhotoOnSurface.of(photo, mesh, backend) for photo in photos.photos]

    def blended(points: Tensor) -> Tensor:
        seen, share = zip(*(source.at(points) for source in sources), strict=True)
        shares = torch.stack(share)  # [P, N]
        weights = shares**SHARPER
        mean = (weights[..., None] * torch.stack(seen)).sum(dim=0) / weights.sum(dim=0).clamp_min(1e-6)[:, None]
        best = shares.amax(dim=0)[:, None]
        return best * mean + (1 - best) * colour(points)

    return blended


@dataclass(frozen=True)
class _PhotoOnSurface:
    """A photo, and how well each of its pixels shows the surface behind it."""

    camera: Cameras
    photo: Tensor  # [1, 4, S, S]: colours, and how well they show the surface
    depth: Tensor  # [1, 1, S, S] of the surface, 0 outside

    @classmethod
    def of(cls, cutout: Cutout, mesh: Mesh, backend: Backend) -> _PhotoOnSurface:
        size = len(cutout.picture)
        position, normal = mesh.vertices, mesh.vertex_normals()
        camera = cutout.camera.to(position.device)
        raster = rasterize(mesh.vertices, mesh.faces, torch.cat([position, normal], dim=1), camera, size, backend)
        position, normal = raster.attributes[0].split(3, dim=-1)
        facing = ((facing_cosine(position, normal, camera) - SLANT) / (FACING - SLANT)).clamp(0, 1)  # [S, S]
        share = facing * torch.from_numpy(_sureness(raster.depth[0].cpu().numpy(), cutout.picture)).to(facing)
        rgb = torch.from_numpy(cutout.picture[..., :3].astype(np.float32) / 255).to(facing)
        return cls(camera, torch.cat([rgb, share[..., None]], dim=-1).permute(2, 0, 1)[None], raster.depth[None])

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The photo's colours [N, 3] at surface points [N, 3], and how well it shows them, [N] in [0, 1]."""
        x, y, distance = self.camera.project(points)[0].unbind(dim=-1)
        where = torch.stack([x, -y], dim=-1)[None, None]
        *rgb, share = grid_sample(self.photo, where, align_corners=False)[0, :, 0]
        nearest = grid_sample(self.depth, where, mode="nearest", align_corners=False)[0, 0, 0]
        return torch.stack(rgb, dim=-1), torch.where((distance - nearest).abs() < SAME_DEPTH, share, 0.0)


def facing_cosine(points: Tensor, normals: Tensor, camera: Cameras) -> Tensor:
    """Cosines [...] between normals [..., 3] of any length and the ways from points [..., 3] to the one camera."""
    return (normalize(normals, dim=-1) * normalize(camera.basis[0][0] - points, dim=-1)).sum(dim=-1)


def _sureness(depth: NDArray[np.float32], cutout: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How sure it is that a pixel shows the surface behind it, [S, S] in [0, 1].

    It is not sure at outlines, nor where the depths [S, S] (0 outside) jump.
    """
    jump = ndimage.maximum_filter(depth, 3) - ndimage.minimum_filter(depth, 3) > 2 * SAME_DEPTH
    unsure = jump | (depth == 0) | (cutout[..., 3] < 250)
    unsure[[0, -1]] = unsure[:, [0, -1]] = True
    distance = ndimage.distance_transform_edt(~unsure)
    return ((distance - MARGIN) / BLEND).clip(0, 1).astype(np.float32)
