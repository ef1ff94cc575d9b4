"""Textured meshes as GLB, the one file that shops and viewers take, and back.

A GLB of ours is one mesh with one material: +y up, front towards +z, metres, counter-clockwise triangles, a
base-colour texture with its origin at the top left, single-sided. With baked occlusion, one more texture has that in
red, roughness in green and metalness in blue (ORM); a third one may have normals. The origin is the centre of the
product's base; how to come back to the world, `asset.extras` says. The same mesh gives the same bytes.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pygltflib as gltf
from numpy.typing import NDArray
from PIL import Image

from mpod_pipeline import __version__
from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.document import Document
from mpod_pipeline.geometry.tangents import tangent_frames

#: What shops accept (Shopify: the viewer and AR; Google Merchant: the file).
MOST_TRIANGLES = 100_000
MOST_BYTES = 15_000_000
LARGEST_TEXTURE = 2048
ROUGHNESS = 0.8
#: The extension by which viewers show the base colour as it is, without light.
UNLIT = "KHR_materials_unlit"
GENERATOR = "mpod_pipeline"
JPEG_QUALITY = 92

_NUMPY = {gltf.UNSIGNED_BYTE: "u1", gltf.UNSIGNED_SHORT: "<u2", gltf.UNSIGNED_INT: "<u4", gltf.FLOAT: "<f4"}
_WIDTH = {gltf.SCALAR: 1, gltf.VEC2: 2, gltf.VEC3: 3, gltf.VEC4: 4}


@dataclass(frozen=True)
class Material:
    """How a surface takes light. roughness, metalness: of all of it, in [0, 1]. occlusion: how much of its surroundings
    each texel sees, [T, T] uint8, or None. unlit: whether viewers show the texture as it is. normals: a tangent-space
    normal map, [T, T, 3] uint8, or None.
    """

    roughness: float = ROUGHNESS
    metalness: float = 0.0
    occlusion: NDArray[np.uint8] | None = None
    unlit: bool = False
    normals: NDArray[np.uint8] | None = None


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
    material: Material = Material()


def _world_to_gltf(vectors: NDArray) -> NDArray[np.float32]:
    return np.ascontiguousarray(vectors[:, [1, 2, 0]], np.float32)


def gltf_to_world(vectors: NDArray) -> NDArray[np.float32]:
    """Vectors [N, 3] of a file, in the axes of the world."""
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


@dataclass(frozen=True)
class Frame:
    """Where a file's metres are in the world: ``file = (world - base) * scale``, before the axes are exchanged."""

    scale: float = 1.0
    base: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def standing(cls, mesh: TexturedMesh, long_side_m: float) -> Frame:
        """With the centre of the mesh's base as origin."""
        low, high = mesh.vertices.min(axis=0).astype(float), mesh.vertices.max(axis=0).astype(float)
        x, y, _ = ((low + high) / 2).tolist()
        return cls(long_side_m / float((high - low).max()), (x, y, float(low[2])))

    def to_json(self) -> dict[str, Any]:
        return {"metres_per_world_unit": self.scale, "origin_in_world_units": list(self.base)}

    @classmethod
    def from_json(cls, extras: Mapping[str, Any]) -> Frame:
        """What a file says; one that says nothing is in world units."""
        x, y, z = extras.get("origin_in_world_units", cls.base)
        return cls(float(extras.get("metres_per_world_unit", 1.0)), (float(x), float(y), float(z)))


class _Buffer:
    """The GLB's binary chunk, grown part by part."""

    def __init__(self) -> None:
        self.bytes = bytearray()
        self.views: list[gltf.BufferView] = []
        self.accessors: list[gltf.Accessor] = []

    def add_bytes(self, data: bytes, target: int | None = None) -> int:
        self.views.append(gltf.BufferView(buffer=0, byteOffset=len(self.bytes), byteLength=len(data), target=target))
        self.bytes += data + bytes(-len(data) % 4)
        return len(self.views) - 1

    def add_array(self, array: NDArray, kind: str, component: int, target: int, bounds: bool = False) -> int:
        view = self.add_bytes(array.tobytes(), target)
        accessor = gltf.Accessor(bufferView=view, componentType=component, count=array.size // _WIDTH[kind], type=kind)
        if bounds:
            accessor.min, accessor.max = array.min(axis=0).tolist(), array.max(axis=0).tolist()
        self.accessors.append(accessor)
        return len(self.accessors) - 1


def to_glb(
    mesh: TexturedMesh,
    long_side_m: float | None = None,
    *,
    name: str = "product",
    made_by: Mapping[str, Any] | None = None,
) -> bytes:
    """Write a mesh as a GLB that shops take.

    Args:
        mesh: In world units.
        long_side_m: Metres of the longest side; the centre of the base is then the origin. None: world units, where the
            mesh is.
        name: Of the product, and so of the file's node, mesh and material.
        made_by: What else the file says of itself, in its ``asset.extras``.

    Returns:
        The file's bytes. The same mesh gives the same bytes.

    Raises:
        ProductError: The mesh is empty, or larger than shops accept.

    Example:
        >>> corners = np.array([[0, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
        >>> triangle, grey = np.array([[0, 1, 2]]), np.full((4, 4, 3), 128, np.uint8)
        >>> mesh = TexturedMesh(corners, triangle, corners[:, 1:], np.zeros((3, 3), np.float32), grey)
        >>> from_glb(to_glb(mesh)).faces.tolist()
        [[0, 1, 2]]
    """
    if len(mesh.faces) == 0:
        raise ProductError("The model has no surface.")
    if len(mesh.faces) >= MOST_TRIANGLES:
        raise ProductError(f"The model has {len(mesh.faces)} triangles; shops take fewer than {MOST_TRIANGLES}.")
    if max(mesh.texture.shape[:2]) > LARGEST_TEXTURE:
        raise ProductError(f"The texture is larger than {LARGEST_TEXTURE} pixels, the most that shops take.")
    frame = Frame() if long_side_m is None else Frame.standing(mesh, long_side_m)
    positions = _world_to_gltf((mesh.vertices.astype(np.float64) - frame.base) * frame.scale)
    extras = {"id": name, "version": __version__, **(made_by or {}), **frame.to_json()}
    buffer = _Buffer()
    vertex, index = gltf.ARRAY_BUFFER, gltf.ELEMENT_ARRAY_BUFFER
    attributes = gltf.Attributes(
        POSITION=buffer.add_array(positions, gltf.VEC3, gltf.FLOAT, vertex, bounds=True),
        NORMAL=buffer.add_array(_world_to_gltf(_unit(mesh.normals)), gltf.VEC3, gltf.FLOAT, vertex),
        TEXCOORD_0=buffer.add_array(np.ascontiguousarray(mesh.uvs, np.float32), gltf.VEC2, gltf.FLOAT, vertex),
    )
    if mesh.material.normals is not None:  # else each viewer has tangents of its own
        frames = tangent_frames(positions, mesh.faces, mesh.uvs, _world_to_gltf(_unit(mesh.normals)))
        attributes.TANGENT = buffer.add_array(frames, gltf.VEC4, gltf.FLOAT, vertex)
    # 65535 itself is reserved
    short = len(mesh.vertices) < 65535
    component = gltf.UNSIGNED_SHORT if short else gltf.UNSIGNED_INT
    faces = mesh.faces.reshape(-1).astype(_NUMPY[component])
    indices = buffer.add_array(faces, gltf.SCALAR, component, index)
    pictures = {"base_colour": mesh.texture, **_orm(mesh.material)}
    if mesh.material.normals is not None:
        pictures["normals"] = mesh.material.normals
    images = [
        gltf.Image(name=role, bufferView=buffer.add_bytes(_jpeg(picture)), mimeType="image/jpeg")
        for role, picture in pictures.items()
    ]
    document = gltf.GLTF2(
        asset=gltf.Asset(version="2.0", generator=f"{GENERATOR} {__version__}", extras=extras),
        scene=0,
        scenes=[gltf.Scene(nodes=[0])],
        nodes=[gltf.Node(mesh=0, name=name)],
        meshes=[gltf.Mesh(name=name, primitives=[gltf.Primitive(attributes=attributes, indices=indices, material=0)])],
        materials=[_gltf_material(mesh.material, name)],
        textures=[gltf.Texture(sampler=0, source=source) for source in range(len(images))],
        samplers=[
            gltf.Sampler(
                magFilter=gltf.LINEAR,
                minFilter=gltf.LINEAR_MIPMAP_LINEAR,
                wrapS=gltf.CLAMP_TO_EDGE,
                wrapT=gltf.CLAMP_TO_EDGE,
            )
        ],
        images=images,
        accessors=buffer.accessors,
        bufferViews=buffer.views,
        buffers=[gltf.Buffer(byteLength=len(buffer.bytes))],
    )
    document.extensionsUsed = [UNLIT] if mesh.material.unlit else []
    document.set_binary_blob(bytes(buffer.bytes))
    data = b"".join(document.save_to_bytes())
    if len(data) > MOST_BYTES:
        raise ProductError(f"The model's file has {len(data)} bytes; shops take at most {MOST_BYTES}.")
    return data


def _orm(material: Material) -> dict[str, NDArray[np.uint8]]:
    """The texture of occlusion, roughness and metalness, [T, T, 3], by its name; none without occlusion."""
    if material.occlusion is None:
        return {}
    levels = [round(level * 255) for level in (material.roughness, material.metalness)]
    rest = [np.full_like(material.occlusion, level) for level in levels]
    return {"occlusion_roughness_metalness": np.stack([material.occlusion, *rest], axis=-1)}


def _gltf_material(material: Material, name: str) -> gltf.Material:
    packed = material.occlusion is not None  # then the texture has the numbers, and the factors are 1
    return gltf.Material(
        name=name,
        pbrMetallicRoughness=gltf.PbrMetallicRoughness(
            baseColorTexture=gltf.TextureInfo(index=0),
            metallicRoughnessTexture=gltf.TextureInfo(index=1) if packed else None,
            metallicFactor=1.0 if packed else material.metalness,
            roughnessFactor=1.0 if packed else material.roughness,
        ),
        occlusionTexture=gltf.OcclusionTextureInfo(index=1) if packed else None,
        normalTexture=gltf.NormalMaterialTexture(index=2 if packed else 1) if material.normals is not None else None,
        extensions={UNLIT: {}} if material.unlit else {},
        doubleSided=False,
        alphaCutoff=None,
    )


def _read_material(document: Document, described: Mapping[str, Any]) -> Material:
    surface = described["pbrMetallicRoughness"]
    unlit = UNLIT in described.get("extensions", {})
    bumpy, packed = described.get("normalTexture"), surface.get("metallicRoughnessTexture")
    normals = _read_picture(document, bumpy) if bumpy else None
    factors = surface.get("roughnessFactor", 1.0), surface.get("metallicFactor", 1.0)
    if packed is None:
        return Material(*factors, None, unlit, normals)
    picture = _read_picture(document, packed)
    roughness, metalness = (picture[..., 1:].mean(axis=(0, 1)) / 255).round(2).tolist()
    occlusion = picture[..., 0] if "occlusionTexture" in described else None
    return Material(roughness * factors[0], metalness * factors[1], occlusion, unlit, normals)


def _read_picture(document: Document, used: Mapping[str, Any]) -> NDArray[np.uint8]:
    """A material's texture, [T, T, 3]."""
    source = document.json["textures"][used["index"]]["source"]
    data = document.views[document.json["images"][source]["bufferView"]]
    with Image.open(io.BytesIO(data)) as picture:
        return np.asarray(picture.convert("RGB"))


def is_ours(data: bytes) -> bool:
    """Whether `to_glb` wrote the file. Any bytes may be asked about."""
    try:
        generator = Document.unpacked(data).json["asset"]["generator"]
        return isinstance(generator, str) and generator.split()[:1] == [GENERATOR]
    except (ProductError, KeyError, TypeError):
        return False


def said_of_itself(data: bytes) -> dict[str, Any]:
    """A GLB's ``asset.extras``. Raises ProductError for bytes that are none."""
    try:
        return dict(Document.unpacked(data).json["asset"].get("extras") or {})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProductError("The file is not a GLB.") from error


def from_glb(data: bytes) -> TexturedMesh:
    """Read a GLB of ours back.

    Args:
        data: The file's bytes.

    Returns:
        The mesh, in world units.

    Raises:
        ProductError: It is not a single textured mesh.
    """
    try:
        document = Document.unpacked(data)
        (mesh,) = document.json["meshes"]
        (primitive,) = mesh["primitives"]
        attributes, material = primitive["attributes"], document.json["materials"][primitive["material"]]
        frame = Frame.from_json(document.json["asset"].get("extras", {}))
        positions = gltf_to_world(document.array(attributes["POSITION"])).astype(np.float64)
        return TexturedMesh(
            (positions / frame.scale + frame.base).astype(np.float32),
            document.array(primitive["indices"]).reshape(-1, 3).astype(np.int64),
            document.array(attributes["TEXCOORD_0"]),
            gltf_to_world(document.array(attributes["NORMAL"])),
            _read_picture(document, material["pbrMetallicRoughness"]["baseColorTexture"]),
            _read_material(document, material),
        )
    except MemoryError:
        raise
    except Exception as error:  # as many kinds as there are ways to damage a file
        raise ProductError("The file is not a GLB of one textured mesh.") from error
