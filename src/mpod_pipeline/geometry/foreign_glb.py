"""GLBs that others made, read with trimesh: several meshes, moves in the scene, any texture or none."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.glb import TexturedMesh, from_glb, gltf_to_world, is_ours

#: Texels; what is scored is drawn in fewer pixels.
LARGEST_SIDE = 1024


def from_any_glb(data: bytes) -> TexturedMesh:
    """Read the surface of any GLB.

    The scene's moves and scales are applied. Several textures become one. Vertex colours and plain colours become a
    texture.

    Args:
        data: The file's bytes.

    Returns:
        The surface in the file's units, with the axes of the world; a file of ours, in world units.

    Raises:
        ProductError: trimesh cannot read it, or it has no triangles.
    """
    mesh = from_glb(data) if is_ours(data) else _read(data)
    # kernels do not look whether an index is one
    if mesh.faces.min(initial=0) < 0 or mesh.faces.max(initial=-1) >= len(mesh.vertices):
        raise ProductError("The GLB has triangles without vertices.")
    if not np.isfinite(mesh.vertices).all():
        raise ProductError("The GLB has vertices that are nowhere.")
    return mesh


def _read(data: bytes) -> TexturedMesh:
    import trimesh  # half a second, which files of ours need not pay

    try:
        scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
        parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh) and len(part.faces)]
        if not parts:
            raise ProductError("The GLB has no triangles.")
        return _joined([_textured(part) for part in parts])
    except (MemoryError, ProductError):
        raise
    except Exception as error:  # as many kinds as there are ways to damage a file
        raise ProductError(f"The file is not a GLB that can be read ({error}).") from error


def _textured(part: Any) -> TexturedMesh:
    """One of trimesh's meshes, with its own texture."""
    vertices, normals = np.asarray(part.vertices), np.asarray(part.vertex_normals)
    faces = np.asarray(part.faces, np.int64)
    image, factor, colours = _colours(part.visual)
    uvs = getattr(part.visual, "uv", None)
    if image is not None and uvs is not None:
        texture, uvs = _tiled(_times(image, factor), uvs * [1, -1] + [0, 1])
    elif colours is not None:
        texture, uvs = _corner_texels((_srgb(colours) * 255).round().astype(np.uint8)[faces])
        corners = faces.reshape(-1)
        vertices, normals, faces = vertices[corners], normals[corners], np.arange(len(corners)).reshape(-1, 3)
    else:
        texture = (_srgb(factor) * 255).round().astype(np.uint8)[None, None]
        uvs = np.full((len(vertices), 2), 0.5)
    return TexturedMesh(gltf_to_world(vertices), faces, np.asarray(uvs, np.float32), gltf_to_world(normals), texture)


def _colours(visual: Any) -> tuple[Image.Image | None, NDArray[np.floating], NDArray[np.floating] | None]:
    """The base colour's texture and factor [3], and the vertices' colours [V, 3]; None where there are none. Factor and
    vertices' colours are linear, in [0, 1].
    """
    from trimesh.visual.color import to_rgba

    material = getattr(visual, "material", None)
    image = getattr(material, "baseColorTexture", None)
    said = getattr(material, "baseColorFactor", None)
    factor = np.ones(3) if said is None else to_rgba(said)[:3] / 255
    if visual.kind in ("vertex", "face"):
        colours = visual.vertex_colors
    else:
        colours = getattr(visual, "vertex_attributes", {}).get("color")
    return image, factor, None if colours is None else to_rgba(colours)[:, :3] / 255


def _srgb(linear: NDArray[np.floating]) -> NDArray[np.floating]:
    from trimesh.visual.color import linear_to_srgb

    return np.asarray(linear_to_srgb(linear))


def _times(image: Image.Image, factor: NDArray[np.floating]) -> Image.Image:
    """A texture times a linear factor."""
    from trimesh.visual.color import srgb_to_linear

    image = image.convert("RGB")
    if np.allclose(factor, 1):
        return image
    levels = _srgb(srgb_to_linear(np.arange(256)[:, None] / 255) * factor)  # [256, 3]
    table = (levels.clip(0, 1) * 255).round().astype(int).T.reshape(-1)
    return image.point(table.tolist())


def _tiled(image: Image.Image, uvs: NDArray) -> tuple[NDArray[np.uint8], NDArray]:
    """A texture repeated as often as its UVs go round, and UVs in [0, 1]."""
    low = np.floor(uvs.min(axis=0))
    times = np.maximum(np.ceil(uvs.max(axis=0) - low), 1).astype(int)
    size = [max(1, min(side, LARGEST_SIDE // n)) for side, n in zip(image.size, times.tolist(), strict=True)]
    tile = np.asarray(image.resize((size[0], size[1]), Image.Resampling.BOX))
    return np.tile(tile, (times[1], times[0], 1)), (uvs - low) / times


def _corner_texels(colours: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray]:
    """A texture for faces whose corners have colours [F, 3, 3], and the UVs of the corners [3 F, 2].

    Each face has 2 × 2 texels of its own, whose bilinear look-up is the blend of its corners.
    """
    columns = int(np.ceil(np.sqrt(len(colours))))
    a, b, c = colours.astype(int).transpose(1, 0, 2)
    blocks = np.zeros((columns * columns, 2, 2, 3), np.uint8)
    blocks[: len(colours)] = np.stack([np.stack([a, b], 1), np.stack([c, b + c - a], 1)], 1).clip(0, 255)
    texture = blocks.reshape(columns, columns, 2, 2, 3).swapaxes(1, 2).reshape(2 * columns, 2 * columns, 3)
    row, column = np.divmod(np.arange(len(colours)), columns)
    corners = 2 * np.stack([column, row], axis=1)[:, None] + np.array([[0.5, 0.5], [1.5, 0.5], [0.5, 1.5]])
    return texture, (corners / (2 * columns)).reshape(-1, 2)


def _joined(parts: list[TexturedMesh]) -> TexturedMesh:
    """Meshes as one, their textures in a column."""
    height, width = sum(len(part.texture) for part in parts), max(part.texture.shape[1] for part in parts)
    texture, uvs, faces = np.zeros((height, width, 3), np.uint8), [], []
    top = vertices = 0
    for part in parts:
        rows, columns, _ = part.texture.shape
        texture[top : top + rows, :columns] = part.texture
        uvs.append((part.uvs * [columns, rows] + [0, top]) / [width, height])
        faces.append(part.faces + vertices)
        top, vertices = top + rows, vertices + len(part.vertices)
    return TexturedMesh(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate(faces),
        np.concatenate(uvs).astype(np.float32),
        np.concatenate([part.normals for part in parts]),
        texture,
    )
