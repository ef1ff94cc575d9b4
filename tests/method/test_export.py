"""The export is a step of its own: from what stage 2 left on disk, without stage 2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.geometry.glb import ROUGHNESS
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.export import ExportParameters, export_model, roughness_of, texture_size_for
from tests.geometry.shapes import ball
from tests.method.conftest import SMALL_FIELD

EXPORT = ExportParameters(texture_size=64)


@pytest.fixture
def surface() -> PaintedSurface:
    shape = ball(0.6, 24)
    texture = OutlineField(SMALL_FIELD, seed=3)
    with torch.no_grad():  # as far from its start as training takes a field
        texture.encoding.table.normal_(0.0, 0.5, generator=torch.Generator().manual_seed(0))
    return PaintedSurface(shape.vertices.float(), shape.faces, texture)


def test_the_same_model_comes_from_disk(surface: PaintedSurface, cutouts: Cutouts, tmp_path: Path) -> None:
    surface.stored().save(tmp_path / "mug.safetensors")
    loaded = PaintedSurface.load(tmp_path / "mug.safetensors")
    here, there = (export_model(some, cutouts, EXPORT) for some in (surface, loaded))
    assert np.array_equal(here.vertices, there.vertices) and np.array_equal(here.uvs, there.uvs)
    assert np.ptp(here.texture.reshape(-1, 3), axis=0).min() > 100  # a texture worth comparing
    assert np.abs(here.texture.astype(int) - there.texture).max() <= 1  # half precision rounds


def test_triangles_and_texture_are_the_exports_to_say(surface: PaintedSurface, cutouts: Cutouts) -> None:
    p = EXPORT.model_copy(update={"triangles": 300, "texture_size": 128})
    few = export_model(surface, cutouts, p)
    assert len(few.faces) <= 300 < len(surface.faces)
    assert few.texture.shape == (128, 128, 3)


def test_the_texture_is_as_large_as_the_photo_has_pixels_for(cutouts: Cutouts) -> None:
    large = np.full((1280, 1280, 4), 255, np.uint8)
    large[:128] = 0  # 1152 pixels are left
    small = large.copy()
    small[:400] = small[:, :400] = 0
    assert [texture_size_for(Cutouts.of(picture, 0.0)) for picture in (large, small)] == [2048, 1024]
    assert texture_size_for(cutouts) == 1024


def test_the_material_is_the_categorys_or_the_exports_to_say(surface: PaintedSurface, cutouts: Cutouts) -> None:
    def material(**said: object) -> object:
        return export_model(surface, cutouts, EXPORT.model_copy(update={"occlusion_size": 64, **said})).material

    assert (material().roughness, material().metalness, material().unlit) == (ROUGHNESS, 0.0, False)
    assert material(category="Mugs").roughness < ROUGHNESS < material(category="Shoes").roughness
    assert (material(category="Mugs", roughness=0.1).roughness, material(metalness=1.0).metalness) == (0.1, 1.0)
    assert material().occlusion.shape == (64, 64) and material(occlusion_size=0).occlusion is None
    assert material(unlit=True).unlit


@pytest.mark.parametrize(
    ("category", "roughness"),
    [("", ROUGHNESS), ("Kitchen > Mugs", 0.65), ("Women's shoes", 0.95), ("Unheard of", ROUGHNESS)],
)
def test_roughness_follows_from_a_word_of_the_category(category: str, roughness: float) -> None:
    assert roughness_of(category) == roughness


def test_the_photo_is_on_the_side_that_it_shows(
    surface: PaintedSurface, cutout: NDArray[np.uint8], cutouts: Cutouts
) -> None:
    made = export_model(surface, cutouts, EXPORT.model_copy(update={"texture_size": 256}))
    u, v = (made.uvs * 256).astype(int).clip(0, 255).T
    shown = made.texture[v, u].astype(int)
    _, y, z = made.vertices.T
    # amid the disc, where the photo counts in full, but off the line between its colours
    amid = (made.normals[:, 0] > 0.8) & (np.abs(y) < 0.12)
    for half, row in (((z > 0.06) & (z < 0.12), 28), ((z < -0.06) & (z > -0.12), 36)):
        off = np.abs(shown[amid & half] - cutout[row, 32, :3]).max(axis=1)
        assert off.mean() < 40 and off.max() < 85  # the two colours are 170 apart


def test_an_empty_surface_is_the_products_failure(surface: PaintedSurface, cutouts: Cutouts) -> None:
    empty = PaintedSurface(surface.vertices, surface.faces[:0], surface.texture)
    with pytest.raises(ProductError):
        export_model(empty, cutouts, EXPORT)


@pytest.mark.parametrize("name", ["long_side_m", "triangles", "texture_size"])
def test_settings_that_moved_say_where_they_are(name: str) -> None:
    with pytest.raises(ValidationError, match=rf"detail\.{name} has moved: set export\.{name}"):
        DetailParameters.model_validate({name: 1})
    assert ExportParameters.model_validate({name: 1})
