"""A text on a side's photo can be read in the exported GLB, from that side: nothing is mirrored on the way."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import trimesh
from numpy.typing import NDArray
from PIL import Image

from mpod_pipeline.method import reconstruct
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

#: No two are alike, nor is one like its mirror image: `likeness` is below 0.45 for each such pair as drawn.
TEXTS = {"front": "FG", "right": "R4", "back": "2F", "left": "42"}
#: Of glTF (+Y up, the front to +Z): where the camera of each side is, and what is on the right of who stands there.
TOWARDS = {"front": (0, 0, 1), "right": (1, 0, 0), "back": (0, 0, -1), "left": (-1, 0, 0)}
RIGHT = {"front": (1, 0, 0), "right": (0, 0, -1), "back": (-1, 0, 0), "left": (0, 0, 1)}
SIZE, CELLS = 256, 40
SETTINGS: dict[str, Any] = {
    "segmentation": {"photo_elevation_deg": 0.0},
    "textual_inversion": {"steps": 1},
    "outline": {"steps": 100, "cavities": None, "sds": {"guidance_scale": 1.0, "weight": 1e-3}},
    "detail": {"steps": 4, "grid_resolution": 24},
    "export": {"texture_size": 512, "triangles": 4000, "studio_light": "keep", "occlusion_size": 0},
    "evaluation": {"resolution": 32, "sheet_resolution": 32},
}


def side_of_a_box(text: str) -> NDArray[np.uint8]:
    """An orange square with a dark text, [256, 256, 4]."""
    picture = np.zeros((SIZE, SIZE, 4), np.uint8)
    picture[28:228, 28:228] = 240, 160, 60, 255
    cv2.putText(picture, text, (52, 168), cv2.FONT_HERSHEY_SIMPLEX, 3.6, (20, 20, 60, 255), 20)
    return picture


def darkness_of_photo(picture: NDArray[np.uint8]) -> NDArray[np.floating]:
    """[40, 40], of the product's square."""
    square = picture[28:228, 28:228, :3].astype(np.float32)
    return 255 - cv2.resize(square, (CELLS, CELLS), interpolation=cv2.INTER_AREA).mean(axis=-1)


def darkness_of_model(mesh: Any, side: str) -> NDArray[np.floating]:
    """[40, 40], of what somebody sees who stands at a side of a model that trimesh has read, from far away."""
    points, faces = trimesh.sample.sample_surface(mesh, 200_000, seed=0)
    weights = trimesh.triangles.points_to_barycentric(mesh.triangles[faces], points)
    u, v = np.einsum("nk,nkc->cn", weights, mesh.visual.uv[mesh.faces[faces]])
    texture = np.asarray(mesh.visual.material.baseColorTexture.convert("L"))
    rows, columns = ((1 - v) * len(texture)).astype(int), (u * texture.shape[1]).astype(int)
    dark = 255.0 - texture[rows.clip(0, len(texture) - 1), columns.clip(0, texture.shape[1] - 1)]
    seen = mesh.face_normals[faces] @ TOWARDS[side] > 0.7
    x, y = points[seen] @ RIGHT[side], points[seen, 1]
    # A speck that floats beside the box must not make it small in the picture.
    ends = [np.percentile(values, (1, 99)) for values in (-y, x)]
    around = [np.linspace(first, last, CELLS + 1) for first, last in ends]
    total = np.histogram2d(-y, x, bins=around, weights=dark[seen])[0]
    picture: NDArray[np.floating] = total / np.histogram2d(-y, x, bins=around)[0].clip(1)
    return picture


def likeness(seen: NDArray[np.floating], text: NDArray[np.floating]) -> float:
    """The best correlation with the text, wherever it stands and however large: walls are a little off, texts too."""
    rows, columns = np.nonzero(text > text.min() + 60)
    crop = text[rows.min() - 1 : rows.max() + 2, columns.min() - 1 : columns.max() + 2].astype(np.float32)
    filled = np.where(seen > 0, seen, np.median(seen[seen > 0])).astype(np.float32)
    sizes = [tuple(round(scale * side) for side in crop.shape[::-1]) for scale in (0.7, 0.8, 0.9, 1.0)]
    return max(float(cv2.matchTemplate(filled, cv2.resize(crop, size), cv2.TM_CCOEFF_NORMED).max()) for size in sizes)


@pytest.mark.slow
def test_the_text_of_every_side_is_readable_in_the_glb(tmp_path: Path) -> None:
    """More like its text than like the text's mirror image, or like the text of another side."""
    save_tiny_text_to_image(tmp_path / "text_to_image")
    save_tiny_novel_view(tmp_path / "novel_view")
    pictures = {side: side_of_a_box(text) for side, text in TEXTS.items()}
    files = {side: tmp_path / f"{side}.png" for side in TEXTS}
    for side, picture in pictures.items():
        Image.fromarray(picture).save(files[side])
    made = reconstruct(files.pop("front"), further=files, priors=tmp_path, **SETTINGS)
    mesh = trimesh.load(io.BytesIO(bytes(made.glb)), file_type="glb", force="mesh")
    texts = {side: darkness_of_photo(picture) for side, picture in pictures.items()}
    for side, text in texts.items():
        seen = darkness_of_model(mesh, side)
        others = [text[:, ::-1], *(other for name, other in texts.items() if name != side)]
        assert likeness(seen, text) > max(likeness(seen, o) for o in others) + 0.15, side
