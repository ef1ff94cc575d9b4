"""Textured meshes as GLB, the one file that shops and viewers take, and back.

A GLB of ours is one mesh with one material: +y up, front towards +z, metres, counter-clockwise triangles, a
base-colour texture with its origin at the top left, metallic 0, single-sided. Vertices are stored in world units; a
node scales them to metres and stands the product on the floor. The same mesh gives the same bytes.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray
from PIL import Image

from mpod_pipeline.errors import ProductError

#: What shops accept (Shopify: the viewer and AR; Google Merchant: the file).
MOST_TRIANGLES = 100_000
MOST_BYTES = 15_000_000
LARGEST_TEXTURE = 2048
ROUGHNESS = 0.8
JPEG_QUALITY = 92

_NUMPY = {gltf.UNSIGNED_BYTE: "u1", gltf.UNSIGNED_SHORT: "<u2", gltf.UNSIGNED_INT: "<u4", gltf.FLOAT: "<f4"}
_WIDTH = {gltf.SCALAR: 1, gltf.VEC2: 2, gltf.VEC3: 3}


@dataclass(frozen=True)
class TexturedMesh:
    """A mesh in world coordinates with a base-colour texture.

    vertices, normals: [V, 3] float32. faces: [F, 3] int64. uvs: [V, 2] float32 in [0, 1], u right, v down
    from the texture's top left. texture: [T, T, 3] uint8, sRGB.
    """

    vertices: NDArray[np.float32]
    faces: NDArray[np.int64]
    uvs: NDArray[np.float32]
    normals: NDArray[np.float32]
    texture: NDArray[np.uint8]


def _world_to_gltf(vectors: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors[:, [1, 2, 0]], np.float32)


def _gltf_to_world(vectors: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors[:, [2, 0, 1]], np.float32)


def _unit(normals: NDArray) -> NDArray[np.float32]:
    """Unit vectors; those without a direction point up, as glTF allows no zeros."""
    normals = np.asarray(normals, np.float64)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    return np.where(length > 1e-9, normals / np.maximum(length, 1e-9), [[0.0, 0.0, 1.0]]).astype(np.float32)


def _jpeg(texture: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    # no chroma subsampling: it bleeds colours across the borders of islands
    Image.fromarray(texture).save(stream, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return stream.getvalue()


class _Buffer:
    """The GLB's binary chunk, grown part by part."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.views: list[gltf.BufferView] = []
        self.accessors: list[gltf.Accessor] = []

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        self.views.append(
            gltf.BufferView(buffer=0, byteOffset=len(self.bytes), byteLength=len(data), target=target)
        )
        self.bytes += data + bytes(-len(data) % 4)
        return len(self.views) - 1

    def add_array(self, array: NDArray, kind: str, component: int, target: int, bounds: bool = False) -> int:
        view = self.add_bytes(array.tobytes(), target)
        accessor = gltf.Accessor(
            bufferView=view, componentType=component, count=array.size // _WIDTH[kind], type=kind
        )
        if bounds:
            accessor.min, accessor.max = array.min(axis=0).tolist(), array.max(axis=0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def to_glb(mesh: TexturedMesh, long_side_m: float | None = None) -> bytes:
    """The mesh as a GLB, its longest side so many metres and its lowest point at y = 0; by default, where it is.

    Raises ProductError if it is empty, or larger than shops accept.
    """
    if len(mesh.faces) == 0:
        raise ProductError("The model has no surface.")
    if len(mesh.faces) >= MOST_TRIANGLES:
        raise ProductError(
            f"The model has {len(mesh.faces)} triangles; shops take fewer than {MOST_TRIANGLES}."
        )
    if max(mesh.texture.shape[:2]) > LARGEST_TEXTURE:
        raise ProductError(f"The texture is larger than {LARGEST_TEXTURE} pixels, the most that shops take.")
    buffer = _Buffer()
    vertex, index = gltf.ARRAY_BUFFER, gltf.ELEMENT_ARRAY_BUFFER
    attributes = gltf.Attributes(
        POSITION=buffer.add_array(_world_to_gltf(mesh.vertices), gltf.VEC3, gltf.FLOAT, vertex, bounds=True),
        NORMAL=buffer.add_array(_world_to_gltf(_unit(mesh.normals)), gltf.VEC3, gltf.FLOAT, vertex),
        TEXCOORD_0=buffer.add_array(
            np.ascontiguousarray(mesh.uvs, np.float32), gltf.VEC2, gltf.FLOAT, vertex
        ),
    )
    # 65535 itself is reserved
    short = len(mesh.vertices) < 65535
    component = gltf.UNSIGNED_SHORT if short else gltf.UNSIGNED_INT
    faces = mesh.faces.reshape(-1).astype(_NUMPY[component])
    indices = buffer.add_array(faces, gltf.SCALAR, component, index)
    image = buffer.add_bytes(_jpeg(mesh.texture))
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator="mpod_pipeline"),
        scene=0,
        scenes=[gltf.Scene(nodes=[0])],
        nodes=[_node(mesh, long_side_m)],
        meshes=[
            gltf.Mesh(
                name="product",
                primitives=[gltf.Primitive(attributes=attributes, indices=indices, material=0)],
            )
        ],
        materials=[
            gltf.Material(
                name="product",
                pbrMetallicRoughness=gltf.PbrMetallicRoughness(
                    baseColorTexture=gltf.TextureInfo(index=0), metallicFactor=0.0, roughnessFactor=ROUGHNESS
                ),
                doubleSided=False,
                alphaCutoff=None,
            )
        ],
        textures=[gltf.Texture(sampler=0, source=0)],
        samplers=[
            gltf.Sampler(
                magFilter=gltf.LINEAR,
                minFilter=gltf.LINEAR_MIPMAP_LINEAR,
                wrapS=gltf.CLAMP_TO_EDGE,
                wrapT=gltf.CLAMP_TO_EDGE,
            )
        ],
        images=[gltf.Image(name="base_colour", bufferView=image, mimeType="image/jpeg")],
        accessors=buffer.accessors,
        bufferViews=buffer.views,
        buffers=[gltf.Buffer(byteLength=len(buffer.bytes))],
    )
    document.set_binary_blob(bytes(buffer.bytes))
    data = b"".join(document.save_to_bytes())
    if len(data) > MOST_BYTES:
        raise ProductError(f"The model's file has {len(data)} bytes; shops take at most {MOST_BYTES}.")
    return data


def _node(mesh: TexturedMesh, long_side_m: float | None) -> gltf.Node:
    if long_side_m is None:
        return gltf.Node(mesh=0, name="product")
    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    scale = long_side_m / float((high - low).max())
    return gltf.Node(
        mesh=0, name="product", scale=[scale] * 3, translation=[0.0, -scale * float(low[2]), 0.0]
    )


def _read_array(document: gltf.GLTF2, blob: bytes, index: int) -> NDArray:
    accessor = document.accessors[index]
    view = document.bufferViews[accessor.bufferView]
    width, dtype = _WIDTH[accessor.type], np.dtype(_NUMPY[accessor.componentType])
    start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
    stride = view.byteStride or width * dtype.itemsize
    shape, strides = (accessor.count, width), (stride, dtype.itemsize)
    return np.ndarray(shape, dtype, buffer=blob, offset=start, strides=strides).copy()


def from_glb(data: bytes) -> TexturedMesh:
    """Read a GLB of ours back, in world units. Raises ProductError for one that is not a single textured mesh."""
    try:
        document = gltf.GLTF2.load_from_bytes(data)
        (mesh,) = document.meshes
        (primitive,) = mesh.primitives
        blob = document.binary_blob()
        attributes = primitive.attributes
        material = document.materials[primitive.material]
        texture = document.textures[material.pbrMetallicRoughness.baseColorTexture.index]
        view = document.bufferViews[document.images[texture.source].bufferView]
        start = view.byteOffset or 0
        with Image.open(io.BytesIO(blob[start : start + view.byteLength])) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        return TexturedMesh(
            _gltf_to_world(_read_array(document, blob, attributes.POSITION)),
            _read_array(document, blob, primitive.indices).reshape(-1, 3).astype(np.int64),
            _read_array(document, blob, attributes.TEXCOORD_0),
            _gltf_to_world(_read_array(document, blob, attributes.NORMAL)),
            pixels,
        )
    except MemoryError:
        raise
    except Exception as error:  # as many kinds as there are ways to damage a file
        raise ProductError("The file is not a GLB of one textured mesh.") from error
