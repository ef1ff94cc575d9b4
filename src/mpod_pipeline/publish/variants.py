"""The files of a target, made from the exported GLB: within its limits, plain or packed for browsers."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import DracoPy
import numpy as np
import torch
from PIL import Image
from scipy.spatial import cKDTree
from torch import Tensor

from mpod_pipeline.geometry.document import DRACO, WEBP, Document
from mpod_pipeline.geometry.glb import JPEG_QUALITY, TexturedMesh, from_glb, to_glb
from mpod_pipeline.geometry.mesh import Mesh, simplify
from mpod_pipeline.geometry.normal_map import normal_map, normals_of_fine
from mpod_pipeline.geometry.occlusion import occlusion_texture
from mpod_pipeline.geometry.tangents import tangent_frames
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.method.studio_light import SAID
from mpod_pipeline.publish.npm import Gltfpack
from mpod_pipeline.rendering.rasterize import rasterize_numpy

#: Bits of a coordinate as Draco keeps it: 1 / 16,384 of the model's size, a quarter of a texel of 2048.
POSITION_BITS, UV_BITS, NORMAL_BITS = 14, 13, 10
DRACO_LEVEL = 7
WEBP_QUALITY = 85


def within(data: bytes, triangles: int, texture_size: int) -> bytes:
    """The GLB within limits.

    Args:
        data: A GLB of ours.
        triangles: At most so many.
        texture_size: Texels a side of its textures, at most.

    Returns:
        The file's bytes; the same ones if it is within the limits.

    Raises:
        ProductError: It is no GLB of ours.
    """
    mesh = from_glb(data)
    if len(mesh.faces) > triangles:
        data = to_glb(
            fewer_triangles(mesh, triangles, texture_size), long_side_m=_long_side_m(data, mesh), **_said(data)
        )
    document = Document.unpacked(data)
    smaller = {view: picture for view, picture in _pictures(document) if max(picture.size) > texture_size}
    if not smaller:
        return data
    for view, picture in smaller.items():
        scale = texture_size / max(picture.size)
        size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
        document.views[view] = _encoded(picture.resize(size, Image.Resampling.BOX), picture.format or "PNG")
    return document.packed()


def fewer_triangles(mesh: TexturedMesh, most: int, texture_size: int) -> TexturedMesh:
    """The mesh simplified and unwrapped anew, each point of it in the colour of the old texture's nearest texel.

    The new texture is no larger than the old one, and has at most so many texels a side.
    """
    size = mesh.texture.shape[0]
    flat = np.column_stack([mesh.uvs * [2, -2] + [-1, 1], np.ones(len(mesh.uvs))])
    face, barycentric, _ = rasterize_numpy(flat.astype(np.float32), mesh.faces, size, size)
    seen = face >= 0
    corners = mesh.vertices[mesh.faces[face[seen]]]
    texels = cKDTree(np.einsum("ni,nic->nc", barycentric[seen], corners))
    colours = mesh.texture[seen].astype(np.float32) / 255

    def colour(points: Tensor) -> Tensor:
        return torch.from_numpy(colours[texels.query(points.numpy())[1]])

    whole, index = np.unique(mesh.vertices, axis=0, return_inverse=True)
    closed = Mesh(torch.from_numpy(whole), torch.from_numpy(index.reshape(-1)[mesh.faces]))
    baked, material = bake(simplify(closed, most), colour, min(size, texture_size)), mesh.material
    if material.occlusion is not None:
        material = replace(material, occlusion=occlusion_texture(baked, min(len(material.occlusion), texture_size)))
    if material.normals is not None:  # of the mesh that this one stands for
        fine = normals_of_fine(mesh.vertices, mesh.normals)
        bumpy = normal_map(baked, fine, min(len(material.normals), texture_size))
        material = replace(material, normals=bumpy)
    return replace(baked, material=material)


def _long_side_m(data: bytes, mesh: TexturedMesh) -> float:
    scale = Document.unpacked(data).json["asset"].get("extras", {}).get("metres_per_world_unit", 1.0)
    return float(np.ptp(mesh.vertices, axis=0).max()) * float(scale)


def _said(data: bytes) -> dict[str, Any]:
    """What the file says of itself, as `to_glb` takes it."""
    extras = Document.unpacked(data).json["asset"].get("extras", {})
    kept = {name: value for name, value in extras.items() if name in ("fingerprint", "settings", SAID)}
    return {"name": extras.get("id", "product"), "made_by": kept}


def for_browsers(data: bytes) -> bytes:
    """The GLB with its geometry packed by Draco and its textures as WebP: some five times smaller.

    Who reads it needs Draco's decoder, which the viewers of shops have.

    Args:
        data: A GLB's bytes.

    Returns:
        The smaller file's bytes.
    """
    document = _with_webp(data)
    for mesh in document.json["meshes"]:
        for primitive in mesh["primitives"]:
            _pack(document, primitive)
    document.require(DRACO)
    return document.packed()


def for_browsers_by_meshopt(data: bytes, gltfpack: Gltfpack) -> bytes:
    """Likewise, with the geometry packed by meshopt: larger, for viewers that have its decoder."""
    return gltfpack.pack(_with_webp(data).packed())


def _with_webp(data: bytes) -> Document:
    document = Document.unpacked(data)
    for view, picture in _pictures(document):
        document.views[view] = _encoded(picture, "WEBP")
    for image in document.json.get("images", []):
        image["mimeType"] = "image/webp"
    for texture in document.json.get("textures", []):
        texture["extensions"] = {WEBP: {"source": texture.pop("source")}}
    document.require(WEBP)
    return document


def _pack(document: Document, primitive: dict[str, Any]) -> None:
    """Replace a primitive's arrays by Draco's own, which has its vertices in another order."""
    accessors, attributes = document.json["accessors"], primitive["attributes"]
    packed = DracoPy.encode(
        document.array(attributes["POSITION"]),
        document.array(primitive["indices"]).reshape(-1, 3).astype(np.uint32),
        tex_coord=document.array(attributes["TEXCOORD_0"]).astype(np.float64),
        normals=document.array(attributes["NORMAL"]).astype(np.float64),
        quantization_bits=POSITION_BITS,
        tex_coord_quantization_bits=UV_BITS,
        normal_quantization_bits=NORMAL_BITS,
        compression_level=DRACO_LEVEL,
    )
    unpacked = DracoPy.decode(packed)
    arrays = {"POSITION": unpacked.points, "TEXCOORD_0": unpacked.tex_coord, "NORMAL": unpacked.normals}
    kinds = {0: "POSITION", 1: "NORMAL", 3: "TEXCOORD_0"}  # Draco's GeometryAttribute::Type
    for name, array in arrays.items():
        accessor = accessors[attributes[name]]
        for place in ("bufferView", "byteOffset"):
            accessor.pop(place, None)
        accessor["count"] = len(array)
        if "min" in accessor:
            accessor["min"], accessor["max"] = array.min(axis=0).tolist(), array.max(axis=0).tolist()
    if "TANGENT" in attributes:  # Draco has no name for it, so it stays beside, in Draco's order of vertices
        frames = tangent_frames(unpacked.points, unpacked.faces.reshape(-1, 3), unpacked.tex_coord, unpacked.normals)
        described = accessors[attributes["TANGENT"]]
        described |= {"bufferView": document.add_view(frames.tobytes(), target=34962), "count": len(frames)}
    indices = accessors[primitive["indices"]]
    for name in ("bufferView", "byteOffset"):
        indices.pop(name, None)
    indices |= {"count": unpacked.faces.size, "componentType": 5125 if len(unpacked.points) > 65534 else 5123}
    numbers = {kinds[each["attribute_type"]]: each["unique_id"] for each in unpacked.attributes}
    primitive["extensions"] = {DRACO: {"bufferView": document.add_view(packed), "attributes": numbers}}


def _pictures(document: Document) -> list[tuple[int, Image.Image]]:
    views = [image["bufferView"] for image in document.json.get("images", [])]
    return [(view, Image.open(io.BytesIO(document.views[view]))) for view in views]


def _encoded(picture: Image.Image, format: str) -> bytes:
    stream = io.BytesIO()
    how = {"JPEG": {"quality": JPEG_QUALITY, "subsampling": 0}, "WEBP": {"quality": WEBP_QUALITY, "method": 4}}
    picture.save(stream, format, **how.get(format, {}))
    return stream.getvalue()
