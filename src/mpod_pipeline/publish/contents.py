"""What a shop's file holds, whatever its format: the one thing that checks look at."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.document import DRACO, WEBP, Document

#: What a texture says of the surface.
BASE_COLOUR, NORMALS = "base colour", "normals"


@dataclass(frozen=True)
class Texture:
    """role: what it says of the surface. format: as Pillow names it. data: the picture's file."""

    role: str
    format: str
    width: int
    height: int
    data: bytes

    @classmethod
    def of(cls, role: str, data: bytes) -> Texture:
        with Image.open(io.BytesIO(data)) as picture:
            return cls(role, picture.format or "", picture.width, picture.height, data)

    def pixels(self) -> NDArray[np.uint8]:
        """[H, W, 3]."""
        with Image.open(io.BytesIO(self.data)) as picture:
            return np.asarray(picture.convert("RGB"))


@dataclass(frozen=True)
class Contents:
    """size: of the file in bytes. positions: [V, 3] in metres, +y up, as a viewer places them. faces: [F, 3] int64.
    uvs: [V, 2], v down from the texture's top. materials: their number.
    """

    size: int
    positions: NDArray[np.float32]
    faces: NDArray[np.int64]
    uvs: NDArray[np.float32]
    textures: tuple[Texture, ...]
    materials: int

    @property
    def dimensions_m(self) -> tuple[float, float, float]:
        """Width, height and depth in metres."""
        x, y, z = np.ptp(self.positions, axis=0).tolist()
        return x, y, z

    def texture(self, role: str) -> Texture | None:
        return next((texture for texture in self.textures if texture.role == role), None)


def contents_of_glb(data: bytes) -> Contents:
    """Raises ProductError for a file that holds no mesh with UVs."""
    document = Document.unpacked(data)
    try:
        parts = [_part(document, primitive) for mesh in document.json["meshes"] for primitive in mesh["primitives"]]
        starts = np.cumsum([0, *(len(positions) for positions, _, _ in parts)])
        if any(set(node) & {"matrix", "translation", "rotation", "scale"} for node in document.json.get("nodes", [])):
            raise ValueError("a node moves its mesh, which makes its size hard to tell")
        return Contents(
            size=len(data),
            positions=np.concatenate([positions for positions, _, _ in parts]).astype(np.float32),
            faces=np.concatenate([faces + start for (_, faces, _), start in zip(parts, starts, strict=False)]),
            uvs=np.concatenate([uvs for _, _, uvs in parts]).astype(np.float32),
            textures=tuple(_textures(document)),
            materials=len(document.json.get("materials", [])),
        )
    except (KeyError, IndexError, TypeError, ValueError, OSError) as error:
        raise ProductError(f"The file is not a GLB of textured meshes ({error}).") from error


_Part = tuple[NDArray, NDArray[np.int64], NDArray]


def _part(document: Document, primitive: dict) -> _Part:
    """Positions, faces and UVs."""
    if packed := primitive.get("extensions", {}).get(DRACO):
        import DracoPy

        mesh = DracoPy.decode(document.views[packed["bufferView"]])
        return mesh.points, mesh.faces.reshape(-1, 3).astype(np.int64), mesh.tex_coord
    attributes = primitive["attributes"]
    faces = document.array(primitive["indices"]).reshape(-1, 3).astype(np.int64)
    return document.array(attributes["POSITION"]), faces, document.array(attributes["TEXCOORD_0"])


def _textures(document: Document) -> list[Texture]:
    found: dict[int, Texture] = {}
    for material in document.json.get("materials", []):
        surface = material.get("pbrMetallicRoughness", {})
        roles = {
            BASE_COLOUR: surface.get("baseColorTexture"),
            "roughness and metalness": surface.get("metallicRoughnessTexture"),
            "occlusion": material.get("occlusionTexture"),
            NORMALS: material.get("normalTexture"),
            "emission": material.get("emissiveTexture"),
        }
        for role, used in roles.items():
            if used is not None:
                image = image_of(document, used["index"])
                found.setdefault(image, Texture.of(role, document.views[document.json["images"][image]["bufferView"]]))
    return list(found.values())


def image_of(document: Document, texture: int) -> int:
    """The number of a texture's picture."""
    described = document.json["textures"][texture]
    return described.get("extensions", {}).get(WEBP, described)["source"]
