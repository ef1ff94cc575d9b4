"""What stage 2 made comes back from disk, and a damaged file is its product's trouble."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.fields.hash_encoding import HashGridParameters
from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters
from mpod_pipeline.fields.painted_surface import FORMAT_VERSION, KIND, PaintedSurface

SMALL = OutlineFieldParameters(
    hash_grid=HashGridParameters(levels=4, log2_table_size=10, finest_resolution=32),
    mlp_width=8,
    occupancy_resolution=4,
)


def triangle() -> PaintedSurface:
    texture = OutlineField(SMALL, seed=1)
    with torch.no_grad():
        texture.encoding.table.normal_(0.0, 0.5, generator=torch.Generator().manual_seed(0))
    return PaintedSurface(torch.eye(3) * 0.5, torch.tensor([[0, 1, 2]]), texture)


def test_shape_and_colours_come_back(tmp_path: Path) -> None:
    surface = triangle()
    surface.stored().save(tmp_path / "a.safetensors")
    loaded = PaintedSurface.load(tmp_path / "a.safetensors")
    assert torch.equal(loaded.vertices, surface.vertices) and torch.equal(loaded.faces, surface.faces)
    points = torch.rand(500, 3, generator=torch.Generator().manual_seed(1)) - 0.5
    with torch.no_grad():
        colours, again = surface.texture.colour(points), loaded.texture.colour(points)
    assert colours.std() > 0.01
    torch.testing.assert_close(again, colours, atol=1e-3, rtol=0)


def test_what_the_colours_do_not_need_is_not_stored(tmp_path: Path) -> None:
    surface = triangle()
    surface.stored().save(tmp_path / "surface")
    surface.texture.stored().save(tmp_path / "field")
    assert (tmp_path / "surface").stat().st_size < 0.35 * (tmp_path / "field").stat().st_size


def test_equal_surfaces_are_equal_files(tmp_path: Path) -> None:
    for name in "ab":
        triangle().stored().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"format_version": 0}, "format version 0"),
        ({"backend": "abacus"}, "unknown backend"),
        ({"settings": {"mlp_width": 16}}, "has the shape"),
        ({"settings": {"bound": -1}}, "bound"),
    ],
)
def test_another_files_header_is_this_products_trouble(changed: dict[str, object], said: str, tmp_path: Path) -> None:
    path = tmp_path / "mug.safetensors"
    triangle().stored().save(path)
    settings = SMALL.model_dump(mode="json")
    made_by = {"backend": "numba", "device": "cpu"}
    header = {"format_version": FORMAT_VERSION, **made_by, "settings": settings} | changed
    save_file(load_file(path), path, {KIND: json.dumps(header)})
    with pytest.raises(ProductError, match=rf"(?s)mug\.safetensors cannot be read .*{said}.* refine the details"):
        PaintedSurface.load(path)


def test_no_file_and_an_outline_field_are_this_products_trouble(tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="No such file"):
        PaintedSurface.load(tmp_path / "mug.safetensors")
    triangle().texture.stored().save(tmp_path / "mug.safetensors")
    with pytest.raises(ProductError, match="painted_surface"):
        PaintedSurface.load(tmp_path / "mug.safetensors")
