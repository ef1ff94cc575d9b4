"""A rasteriser for CUDA: kaolin's DIB-R (Chen et al. 2019), with its own CUDA backend.

Signature, from kaolin/render/mesh/dibr.py (commit 9cf895aa of NVIDIAGameWorks/kaolin)::

    dibr_rasterization(height, width, face_vertices_z, face_vertices_image, face_features, face_normals_z,
                       sigmainv=7000, boxlen=0.02, knum=30, multiplier=None, eps=None, rast_backend='cuda')
    -> (features [B, H, W, C], soft mask [B, H, W], face index [B, H, W] int64, -1 outside)

Its frame is ours: x right, y up, row 0 at the top. Of the faces at a pixel the greatest z wins, and a face whose
``face_normals_z`` is negative is left out. It interpolates in the image plane (csrc/render/mesh/rasterization_cuda.cu),
so we hand it ``attributes / depth`` and ``1 / depth``, which are linear there, and divide. Its soft mask is 1 inside
and falls off outside; DIB-R's gradient comes from there.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize.raster import Raster
from mpod_pipeline.rendering.rasterize.zbuffer import NEAR

#: DIB-R's own softness is a pixel wide at this resolution: we keep it a pixel wide at all.
SOFT_RESOLUTION = 128
#: Pixels outside the mesh that take their neighbours' attributes; beyond them the soft mask is cut off.
FRINGE = 3


def _extend(pictures: Tensor, covered: Tensor) -> tuple[Tensor, Tensor]:
    """Give uncovered pixels the mean of their covered neighbours, FRINGE times. [B, C or 1, H, W]."""
    for _ in range(FRINGE):
        weight = avg_pool2d(covered, 3, stride=1, padding=1)
        mean = avg_pool2d(pictures * covered, 3, stride=1, padding=1) / weight.clamp_min(1e-6)
        pictures = torch.where(covered > 0, pictures, mean)
        covered = (weight > 0).to(pictures.dtype)
    return pictures, covered


def rasterize(vertices: Tensor, faces: Tensor, attributes: Tensor, cameras: Cameras, resolution: int) -> Raster:
    """See ``mpod_pipeline.rendering.rasterize.rasterize``."""
    if not torch.cuda.is_available():
        raise SetupError("kaolin needs a CUDA device; choose the backend 'torch', which needs none.")
    try:
        from kaolin.render.mesh import dibr_rasterization
    except ImportError as error:
        raise SetupError(
            "The backend 'cuda_packages' rasterises with kaolin: install it (docs/gpu.md), or choose the backend "
            "'torch', which does not need it."
        ) from error
    # Camera by camera: of a fine mesh each takes some 100 MB.
    views = [_view(vertices, faces, attributes, camera, resolution, dibr_rasterization) for camera in cameras]
    return Raster(*(torch.cat(pictures) for pictures in zip(*views, strict=True)))


def _view(
    vertices: Tensor,
    faces: Tensor,
    attributes: Tensor,
    camera: Cameras,
    resolution: int,
    dibr_rasterization: Callable[..., tuple[Tensor, Tensor, Tensor]],
) -> tuple[Tensor, ...]:
    """What one camera sees, in the order of `Raster`."""
    corners = camera.project(vertices)[:, faces]  # [1, F, 3, 3]
    depth = corners[..., 2]  # [1, F, 3]
    in_front = (depth >= NEAR).all(dim=-1)
    inverse_depth = 1 / torch.where(in_front[..., None], depth, torch.ones_like(depth))
    features = torch.cat([attributes[faces][None] * inverse_depth[..., None], inverse_depth[..., None]], dim=-1)
    pictures, opacity, face_index = dibr_rasterization(
        resolution,
        resolution,
        inverse_depth,
        torch.where(in_front[..., None, None], corners[..., :2], torch.full_like(corners[..., :2], 2.0)),
        features,
        in_front.to(depth.dtype) * 2 - 1,
        sigmainv=7000 * (resolution / SOFT_RESOLUTION) ** 2,
        boxlen=0.02 * SOFT_RESOLUTION / resolution,
        rast_backend="cuda",
    )
    covered = (face_index >= 0)[:, None].to(depth.dtype)
    extended, defined = _extend(pictures.permute(0, 3, 1, 2), covered)
    interpolated, pixel_inverse_depth = extended[:, :-1], extended[:, -1:]
    defined_depth = torch.where(defined > 0, pixel_inverse_depth, torch.ones_like(pixel_inverse_depth))
    return (
        (interpolated / defined_depth).permute(0, 2, 3, 1),
        opacity * defined[:, 0],
        face_index.int(),
        (covered / defined_depth)[:, 0].detach(),
    )
