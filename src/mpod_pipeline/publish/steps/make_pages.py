"""Make every product's page: its model, photo, pictures and scores in one file; and a thumbnail and a poster."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import PositiveInt

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.geometry.document import Document
from mpod_pipeline.geometry.glb import Frame
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.studio_light import as_photographed
from mpod_pipeline.publish.contents import contents_of_glb
from mpod_pipeline.publish.decisions import model_hash
from mpod_pipeline.rendering.cameras import DISTANCE, FOV_DEG, Cameras

if TYPE_CHECKING:  # it brings the priors' packages along
    from mpod_pipeline.method.cutouts import Cutouts

WEBP_QUALITY = 82


class Settings(Parameters):
    """Pixels of pictures' sides."""

    poster_size: PositiveInt = 1024
    thumbnail_size: PositiveInt = 256
    photo_size: PositiveInt = 768


def make(models: None, given: Given) -> dict[str, Any]:
    settings: Settings = given.settings
    photos: Cutouts = given["photos"]
    poster = _poster(given["mesh"], photos.front.camera, settings.poster_size)
    contents = contents_of_glb(given["mesh"])
    width, height, depth = contents.dimensions_m
    scores = dict(given["evaluation"])
    page = {
        "id": given.product,
        "model": model_hash(given["mesh"]),
        "glb": f"data:model/gltf-binary;base64,{base64.b64encode(given['mesh']).decode()}",
        "camera": photo_camera(given["mesh"], photos.front.elevation_deg),
        "photos": {each.name: _data_uri(_on_white(each.picture, settings.photo_size)) for each in photos.photos},
        "poster": _data_uri(poster),
        **{name: _data_uri(given[name]) for name in ("turntable", "normals", "words")},
        "flags": scores.pop("flags", ""),
        "scores": scores,
        "facts": {
            "triangles": len(contents.faces),
            "megabytes": round(contents.size / 1e6, 2),
            "width_cm": round(width * 100, 1),
            "height_cm": round(height * 100, 1),
            "depth_cm": round(depth * 100, 1),
        },
    }
    size = (settings.thumbnail_size,) * 2
    return {"pages": page, "thumbnails": np.asarray(Image.fromarray(poster).resize(size)), "posters": poster}


def photo_camera(glb: bytes, elevation_deg: float) -> dict[str, str]:
    """The photo's camera, as <model-viewer> takes one: in metres, and in the axes of the file."""
    frame = Frame.from_json(Document.unpacked(glb).json["asset"].get("extras", {}))
    x, y, z = (-coordinate * frame.scale for coordinate in frame.base)
    distance = DISTANCE * frame.scale
    return {
        "camera-orbit": f"0deg {90 - elevation_deg:g}deg {distance:.5f}m",
        "max-camera-orbit": f"Infinity 157.5deg {2 * distance:.5f}m",  # its own bound may be nearer than the photo's
        "camera-target": f"{y:.5f}m {z:.5f}m {x:.5f}m",
        "field-of-view": f"{FOV_DEG:g}deg",
        "max-field-of-view": "60deg",  # likewise
    }


def _poster(glb: bytes, camera: Cameras, size: int) -> NDArray[np.uint8]:
    """The model from the photo's view, on white, [P, P, 3]."""
    picture = draw(as_photographed(glb), camera, size)[0][0].numpy()
    return (picture.clip(0, 1) * 255).round().astype(np.uint8)


def _on_white(cutout: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    small = Image.fromarray(cutout).resize((size, size), Image.Resampling.LANCZOS)
    return np.asarray(Image.alpha_composite(Image.new("RGBA", small.size, "white"), small).convert("RGB"))


def _data_uri(picture: NDArray[np.uint8]) -> str:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "WEBP", quality=WEBP_QUALITY)
    return f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode()}"
