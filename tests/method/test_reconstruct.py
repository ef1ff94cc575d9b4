"""The method as a function, as README shows it: with tiny priors and a step or two of each optimisation."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import trimesh
from PIL import Image
from pydantic import ValidationError

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.geometry.glb import from_glb
from mpod_pipeline.method import Reconstruction, reconstruct
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

ROOT = Path(__file__).parents[2]
PHOTO = ROOT / "data/01_raw/kite-mug.png"
QUICK: dict[str, Any] = {
    "textual_inversion": {"steps": 1},
    "outline": {"steps": 20},
    "detail": {"steps": 2, "grid_resolution": 24},
    "export": {"texture_size": 64, "triangles": 800},
    "evaluation": {"resolution": 32, "sheet_resolution": 32},
}


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("priors")
    save_tiny_text_to_image(folder / "text_to_image")
    save_tiny_novel_view(folder / "novel_view")
    return folder


@pytest.fixture(scope="module")
def model(priors: Path) -> Reconstruction:
    return reconstruct(PHOTO, priors=priors, **QUICK)


def test_a_photo_becomes_a_model_with_scores_and_pictures(model: Reconstruction, tmp_path: Path) -> None:
    model.glb.save(tmp_path / "mug.glb")
    mesh = from_glb((tmp_path / "mug.glb").read_bytes())
    assert 0 < len(mesh.faces) <= 800 and mesh.texture.shape == (64, 64, 3)
    assert 0 < model.scores["photo_iou"] <= 1 and "cutout_confidence" in model.scores
    assert model.turntable.shape == (3 * 32, 4 * 32, 3)
    assert set(model.seconds) == {
        "segment",
        "learn_tokens",
        "optimize_outline",
        "export_masks",
        "refine_detail",
        "export_models",
        "evaluate",
    }


def test_equal_seeds_give_equal_models(model: Reconstruction, priors: Path) -> None:
    again = reconstruct(PHOTO.read_bytes(), priors=priors, **QUICK)
    ours, theirs = (from_glb(each.glb) for each in (model, again))
    assert np.array_equal(ours.vertices, theirs.vertices) and np.array_equal(ours.texture, theirs.texture)


def test_what_is_wrong_is_told_before_any_work(priors: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="no section outlines; there are segmentation"):
        reconstruct(PHOTO, priors=priors, outlines={"steps": 1})
    with pytest.raises(ValidationError, match="stepz"):
        reconstruct(PHOTO, priors=priors, outline={"stepz": 1})
    with pytest.raises(SetupError, match="text_to_image"):
        reconstruct(PHOTO, priors=tmp_path)
    with pytest.raises(ProductError):
        reconstruct(b"no photo", priors=priors, **QUICK)


def test_further_photos_are_used_and_scored(priors: Path) -> None:
    made = reconstruct(PHOTO, further={"back": PHOTO, "left": PHOTO}, priors=priors, **QUICK)
    assert [photo.name for photo in made.artifacts["aligned_photos"].photos] == ["front", "back", "left"]
    assert {"photo_back_psnr", "photo_back_iou", "photo_left_iou", "cutout_confidence_left"} <= made.scores.keys()
    assert made.turntable.shape == (4 * 32, 4 * 32, 3)
    with pytest.raises(SetupError, match="no side top"):
        reconstruct(PHOTO, further={"top": PHOTO}, priors=priors, **QUICK)


def test_a_further_photo_without_a_product_costs_that_photo(priors: Path, tmp_path: Path) -> None:
    blank = tmp_path / "blank.png"
    Image.new("RGB", (64, 64), "white").save(blank)
    made = reconstruct(PHOTO, further={"back": blank}, priors=priors, **QUICK)
    assert [photo.name for photo in made.artifacts["aligned_photos"].photos] == ["front"]
    assert "the photo back is not used: The photo is blank" in made.scores["flags"]


def test_a_model_has_the_size_that_is_told(priors: Path) -> None:
    size = {"width_cm": 13.0, "height_cm": 10.0, "depth_cm": 9.0}
    sized = {name: {**QUICK[name], **size} for name in ("outline", "export", "evaluation")}
    made = reconstruct(PHOTO, priors=priors, **{**QUICK, **sized})
    vertices = trimesh.load(io.BytesIO(bytes(made.glb)), file_type="glb", force="mesh").vertices
    assert np.ptp(vertices, axis=0) * 100 == pytest.approx([13.0, 10.0, 9.0], rel=0.02)
