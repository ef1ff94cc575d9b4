"""The photo's own pixels on the surface that it shows.

Stage 2 sees the photo at its rendering resolution, and its colour field can hold no more than its grid. What the photo
shows in full is known, so a baked texture takes it from there, and leaves to the field what the photo does not show.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from mpod_pipeline.geometry.mesh import Mesh
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


def with_photo(
    colour: Callable[[Tensor], Tensor],
    mesh: Mesh,
    cutout: NDArray[np.uint8],
    camera: Cameras,
    backend: Backend = "numba",
) -> Callable[[Tensor], Tensor]:
    """Colours [N, 3] of surface points [N, 3]: the cutout's [S, S, 4] where its camera sees them well, ``colour`` where
    it does not, and a blend between.
    """
    size = len(cutout)
    position, normal = mesh.vertices, mesh.vertex_normals()
    raster = rasterize(mesh.vertices, mesh.faces, torch.cat([position, normal], dim=1), camera, size, backend)
    position, normal = raster.attributes[0].split(3, dim=-1)
    facing = ((facing_cosine(position, normal, camera) - SLANT) / (FACING - SLANT)).clamp(0, 1)  # [S, S]
    share = facing * torch.from_numpy(_sureness(raster.depth[0].cpu().numpy(), cutout)).to(facing)
    rgb = torch.from_numpy(cutout[..., :3].astype(np.float32) / 255).to(facing)
    photo = torch.cat([rgb, share[..., None]], dim=-1).permute(2, 0, 1)[None]
    depth = raster.depth[None]

    def blended(points: Tensor) -> Tensor:
        x, y, distance = camera.project(points)[0].unbind(dim=-1)
        where = torch.stack([x, -y], dim=-1)[None, None]
        *rgb, share = grid_sample(photo, where, align_corners=False)[0, :, 0]
        nearest = grid_sample(depth, where, mode="nearest", align_corners=False)[0, 0, 0]
        share = torch.where((distance - nearest).abs() < SAME_DEPTH, share, 0.0)[:, None]
        return share * torch.stack(rgb, dim=-1) + (1 - share) * colour(points)

    return blended


def facing_cosine(points: Tensor, normals: Tensor, camera: Cameras) -> Tensor:
    """Cosines [...] between normals [..., 3] of any length and the ways from points [..., 3] to the one camera."""
    return (normalize(normals, dim=-1) * normalize(camera.basis[0][0] - points, dim=-1)).sum(dim=-1)


def _sureness(depth: NDArray[np.float32], cutout: NDArray[np.uint8]) -> NDArray[np.float32]:
    """How sure it is that a pixel shows the surface behind it, [S, S] in [0, 1]: not at outlines, nor where the depths
    [S, S] (0 outside) jump.
    """
    jump = ndimage.maximum_filter(depth, 3) - ndimage.minimum_filter(depth, 3) > 2 * SAME_DEPTH
    unsure = jump | (depth == 0) | (cutout[..., 3] < 250)
    unsure[[0, -1]] = unsure[:, [0, -1]] = True
    distance = ndimage.distance_transform_edt(~unsure)
    sureness: NDArray[np.float32] = ((distance - MARGIN) / BLEND).clip(0, 1).astype(np.float32)
    return sureness
