"""From a surface with colours to a texture: UVs, baking, and drawing what was baked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import xatlas
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize, rasterize_numpy

#: Texels between islands, so that bilinear look-ups and the first mipmaps stay on theirs.
PADDING = 4
#: Faces that are laid out as one. xatlas works on several pieces at a time, and its time grows faster than a piece:
#: four of 5,000 took a third of the time of one of 20,000, and less, with fewer vertices.
PIECE = 5_000
#: Surface points asked for at a time.
CHUNK = 1 << 18


def unwrap(mesh: Mesh, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Lay the surface out flat in a texture of ``size`` texels a side (xatlas).

    Returns, with vertices doubled along the cuts: the old index of each new vertex [V'], faces [F, 3] and
    UVs [V', 2]. Raises ProductError for a mesh without faces.
    """
    if len(mesh.faces) == 0:
        raise ProductError("The model has no surface to lay a texture on.")
    vertices, faces = mesh.vertices.detach().cpu().numpy(), mesh.faces.cpu().numpy()
    parts = pieces(vertices[faces].mean(axis=1))
    atlas, used = xatlas.Atlas(), []
    for part in parts:
        its_vertices, its_faces = np.unique(faces[part], return_inverse=True)
        atlas.add_mesh(vertices[its_vertices], its_faces.reshape(-1, 3).astype(np.uint32))
        used.append(its_vertices)
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    packing.resolution = size
    packing.padding = PADDING
    packing.bilinear = True
    atlas.generate(charts, packing)
    origins, laid, uvs = zip(*(atlas[i] for i in range(len(parts))), strict=True)
    first = np.cumsum([0, *map(len, origins)])
    new_faces = np.empty_like(faces, dtype=np.int64)
    for part, its_faces, start in zip(parts, laid, first[:-1], strict=True):
        new_faces[part] = its_faces.astype(np.int64) + start
    origin = np.concatenate([its_vertices[each] for its_vertices, each in zip(used, origins, strict=True)])
    return origin.astype(np.int64), new_faces, np.concatenate(uvs).astype(np.float32)


def pieces(centres: NDArray[np.floating]) -> list[NDArray[np.int64]]:
    """Faces [F, 3], as their centres, in spatial pieces of at most `PIECE`: halved across their longest extent, and
    again.
    """

    def halved(some: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        if len(some) <= PIECE:
            return [np.sort(some)]
        axis = np.ptp(centres[some], axis=0).argmax()
        along = some[centres[some, axis].argsort(kind="stable")]
        return [piece for half in np.array_split(along, 2) for piece in halved(half)]

    return halved(np.arange(len(centres)))


def fill_gaps(image: NDArray[np.float32], covered: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Give the texels between islands the colour of the nearest texel on one."""
    nearest = distance_transform_edt(~covered, return_distances=False, return_indices=True)
    return image[tuple(nearest)]


def over_texels(
    mesh: TexturedMesh, values: NDArray[np.floating], size: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values of the mesh's vertices [V, C] at the texels of a texture of ``size`` texels a side, [T, T, C], 0 beside
    its islands; and which texels lie on one, [T, T].
    """
    flat = np.column_stack([mesh.uvs * [2, -2] + [-1, 1], np.ones(len(mesh.uvs))]).astype(np.float32)
    face, barycentric, _ = rasterize_numpy(flat, mesh.faces, size, size)
    covered = face >= 0
    picture = np.zeros((size, size, values.shape[1]), np.float32)
    picture[covered] = np.einsum("ni,nic->nc", barycentric[covered], values[mesh.faces[face[covered]]])
    return picture, covered


def bake(mesh: Mesh, colour: Callable[[Tensor], Tensor], size: int) -> TexturedMesh:
    """Unwrap a mesh, and paint its texture from a colour field.

    Args:
        mesh: In world units.
        colour: From points [N, 3] on the surface to colours [N, 3] in [0, 1], sRGB.
        size: Texels a side, at most 2048.

    Returns:
        The mesh with UVs and its texture [size, size, 3].

    Raises:
        ProductError: The mesh has no faces.
    """
    origin, faces, uvs = unwrap(mesh, size)
    vertices = mesh.vertices.detach().cpu().float().numpy()[origin]
    flat = np.concatenate([uvs * [2, -2] + [-1, 1], np.ones((len(uvs), 1))], axis=1)
    face, barycentric, _ = rasterize_numpy(flat.astype(np.float32), faces, size, size)
    covered = face >= 0
    points = np.einsum("ni,nic->nc", barycentric[covered], vertices[faces[face[covered]]])
    image = np.zeros((size, size, 3), np.float32)
    with torch.no_grad():
        chunks = torch.from_numpy(points).to(mesh.vertices.device).split(CHUNK)
        image[covered] = torch.cat([colour(chunk) for chunk in chunks]).cpu().float().numpy()
    texture = (fill_gaps(image, covered).clip(0, 1) * 255 + 0.5).astype(np.uint8)
    normals = mesh.vertex_normals().detach().cpu().float().numpy()[origin]
    return TexturedMesh(vertices, faces, uvs, normals, texture)


def draw(
    mesh: TexturedMesh, cameras: Cameras, resolution: int, background: float = 1.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Pictures of a textured mesh without lighting, as an average of 2 × 2 samples a pixel.

    Args:
        mesh: In world units.
        cameras: B of them.
        resolution: Pixels a side: H = W.
        background: The grey behind it, in [0, 1].

    Returns:
        Colours on the background [B, H, W, 3] in [0, 1], opacity [B, H, W], and unit world normals [B, H, W, 3] (0
        outside).
    """
    attributes = torch.from_numpy(np.concatenate([mesh.uvs, mesh.normals], axis=1))
    raster = rasterize(
        torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.faces), attributes, cameras, 2 * resolution
    )
    texture = torch.from_numpy(mesh.texture.astype(np.float32) / 255).permute(2, 0, 1)[None]
    views = len(cameras)
    looked_up = grid_sample(
        texture.expand(views, -1, -1, -1),
        raster.attributes[..., :2] * 2 - 1,
        padding_mode="border",
        align_corners=False,
    )
    alpha = raster.opacity[:, None]
    picture = looked_up * alpha + background * (1 - alpha)
    normals = raster.attributes[..., 2:].permute(0, 3, 1, 2) * alpha
    picture, alpha, normals = (avg_pool2d(image, 2) for image in (picture, alpha, normals))
    normals = torch.nn.functional.normalize(normals, dim=1, eps=1e-6)
    return picture.permute(0, 2, 3, 1), alpha[:, 0], normals.permute(0, 2, 3, 1)
