"""A GLB taken apart: its JSON, and the bytes of each of its buffer views, to be changed and put together again."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.base.errors import ProductError

_MAGIC, _JSON, _BIN = 0x46546C67, 0x4E4F534A, 0x004E4942
_NUMPY = {5120: "i1", 5121: "u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
#: Geometry packed by Google's Draco.
DRACO = "KHR_draco_mesh_compression"
#: Pictures as WebP.
WEBP = "EXT_texture_webp"


@dataclass
class Document:
    """json: the file's description, without its buffer. views: the bytes that each of ``bufferViews`` stands for."""

    json: dict[str, Any]
    views: list[bytes]

    @classmethod
    def unpacked(cls, data: bytes) -> Document:
        """Raises ProductError where the bytes are no GLB that is whole in itself."""
        try:
            magic, version, _ = struct.unpack_from("<III", data)
            if (magic, version) != (_MAGIC, 2):
                raise ValueError("no GLB of version 2")
            described, blob = b"", b""
            start = 12
            while start + 8 <= len(data):
                length, kind = struct.unpack_from("<II", data, start)
                chunk = data[start + 8 : start + 8 + length]
                described, blob = (chunk, blob) if kind == _JSON else (described, chunk if kind == _BIN else blob)
                start += 8 + length
            found = json.loads(described)
            found.pop("buffers", None)
            views = []
            for view in found.get("bufferViews", []):
                offset = view.pop("byteOffset", 0)
                views.append(blob[offset : offset + view["byteLength"]])
            return cls(found, views)
        except (struct.error, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ProductError(f"The file is no GLB that can be read ({error}).") from error

    def packed(self) -> bytes:
        """The GLB, with those of the views that something refers to, in their order."""
        used = sorted(_references(self.json))
        place = {old: new for new, old in enumerate(used)}
        blob, views = bytearray(), []
        for old in used:
            view = {**self.json["bufferViews"][old], "buffer": 0, "byteLength": len(self.views[old])}
            views.append({**view, "byteOffset": len(blob)})
            blob += self.views[old] + bytes(-len(self.views[old]) % 4)
        described = _with_references({**self.json, "bufferViews": []}, place)
        described |= {"bufferViews": views, "buffers": [{"byteLength": len(blob)}]}
        text = json.dumps(described, separators=(",", ":"), ensure_ascii=False).encode()
        text += b" " * (-len(text) % 4)
        chunks = struct.pack("<II", len(text), _JSON) + text + struct.pack("<II", len(blob), _BIN) + bytes(blob)
        return struct.pack("<III", _MAGIC, 2, 12 + len(chunks)) + chunks

    def add_view(self, data: bytes, **described: Any) -> int:
        self.json.setdefault("bufferViews", []).append({"buffer": 0, "byteLength": len(data), **described})
        self.views.append(data)
        return len(self.views) - 1

    def array(self, accessor: int) -> NDArray:
        """[N, width] of an accessor that is packed in no extension."""
        described = self.json["accessors"][accessor]
        view = described["bufferView"]
        dtype, width = np.dtype(_NUMPY[described["componentType"]]), _WIDTH[described["type"]]
        stride = self.json["bufferViews"][view].get("byteStride", width * dtype.itemsize)
        shape, strides = (described["count"], width), (stride, dtype.itemsize)
        return np.ndarray(shape, dtype, self.views[view], described.get("byteOffset", 0), strides).copy()

    def require(self, extension: str) -> None:
        """Say that who does not know the extension cannot read the file."""
        for name in ("extensionsUsed", "extensionsRequired"):
            self.json[name] = sorted({*self.json.get(name, []), extension})


def _references(part: Any) -> set[int]:
    """The buffer views that a part of the description refers to."""
    if isinstance(part, dict):
        own = {part["bufferView"]} if isinstance(part.get("bufferView"), int) else set()
        return own.union(*map(_references, part.values()))
    return set().union(*map(_references, part)) if isinstance(part, list) else set()


def _with_references(part: Any, place: dict[int, int]) -> Any:
    if isinstance(part, dict):
        return {
            name: place[value] if name == "bufferView" else _with_references(value, place)
            for name, value in part.items()
        }
    return [_with_references(each, place) for each in part] if isinstance(part, list) else part
