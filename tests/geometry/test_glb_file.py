"""A mesh from the catalog shows itself, at a prompt and in a notebook."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mpod_pipeline.datasets import ProductPartitions
from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.geometry.glb_file import SHOWN, GlbFile
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.rendering.shading import LIGHT_GREY
from tests.geometry.shapes import box


@pytest.fixture
def mesh(tmp_path: Path) -> GlbFile:
    """As `catalog.load("meshes")["mug"]()` gives it: a red box 3 cm wide."""
    red = bake(box(), lambda points: torch.tensor([1.0, 0.0, 0.0]).expand(len(points), 3), 64)
    meshes = ProductPartitions(path=str(tmp_path), format="glb")
    meshes.save({"mug": to_glb(red, 0.03)})
    loaded: GlbFile = meshes.load()["mug"]()
    return loaded


def test_at_a_prompt_it_is_one_line(mesh: GlbFile) -> None:
    for text in (repr(mesh), str(mesh)):
        assert text.startswith("<GLB: 12 triangles, 0.0") and len(text) < 80
    assert len(repr(GlbFile(b"\x00" * 1_000_000))) < 200


def test_in_a_notebook_it_is_a_picture(mesh: GlbFile) -> None:
    data = mesh._repr_png_()
    assert data
    picture = np.asarray(Image.open(io.BytesIO(data)))
    assert picture.shape == (SHOWN, 4 * SHOWN, 3)
    for view in np.split(picture, 4, axis=1):
        red = (view[..., 0] > 200) & (view[..., 1] < 60)
        assert 0.2 < red.mean() < 0.9 and (view[2, 2] == round(LIGHT_GREY * 255)).all()
    assert GlbFile(b"no model")._repr_png_() is None


def test_it_is_the_files_bytes_still(mesh: GlbFile, tmp_path: Path) -> None:
    mesh.save(tmp_path / "copy.glb")
    assert (tmp_path / "copy.glb").read_bytes() == (tmp_path / "mug.glb").read_bytes() == mesh
    assert pickle.loads(pickle.dumps(mesh)) == mesh
