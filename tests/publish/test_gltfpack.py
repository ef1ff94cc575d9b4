"""The web target packed by meshopt: by gltfpack itself where npm has it, and the sentences where it is not there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.contents import BASE_COLOUR, contents_of_glb
from mpod_pipeline.publish.npm import Gltfpack
from mpod_pipeline.publish.steps import publish_web
from tests.conftest import from_npm
from tests.publish.conftest import LONG_SIDE_M, NOWHERE


@pytest.fixture(scope="module")
def folder() -> Path:
    found = from_npm("gltfpack")
    if found is None:
        pytest.skip("gltfpack needs node and npm, and the network once")
    return found


def made(glb: bytes, settings: publish_web.Settings) -> tuple[bytes, dict]:
    artifacts = publish_web.make(publish_web.load(settings), Given("ball", {"mesh": glb}, settings))
    return artifacts["publish_web_files"], artifacts["publish_web_checks"]


def test_meshopt_packs_the_same_model(glb: bytes, folder: Path) -> None:
    settings = publish_web.Settings(compress="meshopt", gltfpack=folder, validator=NOWHERE)
    packed, report = made(glb, settings)
    assert len(packed) < len(glb) / 2 and b"EXT_meshopt_compression" in packed and b"f00d" in packed
    assert report["wrong"] == [] and report["bytes"] == len(packed)
    before, after = contents_of_glb(glb), contents_of_glb(Gltfpack(folder).unpack(packed))
    assert report["triangles"] == len(after.faces) == len(before.faces)
    assert after.dimensions_m == pytest.approx(before.dimensions_m, rel=1e-3)
    apart = np.abs(after.positions[:, None] - before.positions[None]).sum(-1).min(axis=1)
    assert apart.max() < LONG_SIDE_M * 1e-3
    texture = after.texture(BASE_COLOUR)
    assert texture and (texture.width, texture.format) == (512, "WEBP")


def test_the_gate_holds_for_packed_files(glb: bytes, folder: Path) -> None:
    limits = {"megabytes": 0.001, "width_cm": 24.0}
    settings = publish_web.Settings(compress="meshopt", gltfpack=folder, validator=NOWHERE, **limits)
    packed, report = made(glb, settings)
    size, dimensions = report["wrong"]
    assert size.startswith(f"The file has {len(packed) / 1e6:.2f} MB") and "width is 12.0 cm" in dimensions


def test_khronos_looks_at_the_file_and_into_it(glb: bytes, folder: Path) -> None:
    validator = from_npm("gltf-validator")
    if validator is None:
        pytest.skip("Khronos' validator needs node and npm, and the network once")
    _, report = made(glb, publish_web.Settings(compress="meshopt", gltfpack=folder, validator=validator))
    assert report["wrong"] == [] and report["checked_by"] == ["own checks", "Khronos' validator"]


def test_what_gltfpack_cannot_read_is_the_products_failure(folder: Path) -> None:
    with pytest.raises(ProductError, match=r"gltfpack gave up \(Error loading"):
        Gltfpack(folder).pack(b"no GLB")


def test_what_lacks_is_told_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SetupError, match=r"not in .*nowhere: `npm install gltfpack`"):
        publish_web.load(publish_web.Settings(compress="meshopt", gltfpack=tmp_path / "nowhere"))
    (tmp_path / "cli.js").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"Node\.js, which runs gltfpack, is not installed"):
        publish_web.load(publish_web.Settings(compress="meshopt", gltfpack=tmp_path))
    publish_web.load(publish_web.Settings(gltfpack=tmp_path, validator=NOWHERE))  # nobody asked for it
