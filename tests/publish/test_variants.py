"""Targets' files hold the same model within their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.document import DRACO, WEBP, Document
from mpod_pipeline.geometry.glb import Material, TexturedMesh, from_glb, to_glb
from mpod_pipeline.publish.contents import BASE_COLOUR, NORMALS, contents_of_glb
from mpod_pipeline.publish.usdz import contents_of_usdz, to_usdz, what_arkit_would_say
from mpod_pipeline.publish.variants import for_browsers, within
from tests.publish.conftest import LONG_SIDE_M


def test_what_is_within_the_limits_stays_as_it_is(glb: bytes) -> None:
    assert within(glb, 100_000, 512) is glb


def test_a_document_that_is_packed_again_says_the_same(glb: bytes) -> None:
    again = Document.unpacked(glb).packed()
    assert Document.unpacked(again) == Document.unpacked(glb)


def test_textures_are_made_smaller(glb: bytes) -> None:
    texture = contents_of_glb(within(glb, 100_000, 256)).texture(BASE_COLOUR)
    assert texture and (texture.width, texture.height, texture.format) == (256, 256, "JPEG")
    before = contents_of_glb(glb).texture(BASE_COLOUR)
    assert before and np.abs(texture.pixels().mean((0, 1)) - before.pixels().mean((0, 1))).max() < 1


def test_triangles_are_taken_out_and_colours_stay_where_they_were(glb: bytes, mesh: TexturedMesh) -> None:
    small = within(glb, len(mesh.faces) // 3, 512)
    contents = contents_of_glb(small)
    assert len(contents.faces) <= len(mesh.faces) // 3
    assert contents.dimensions_m == pytest.approx((LONG_SIDE_M, LONG_SIDE_M * 0.8, LONG_SIDE_M), rel=0.03)
    assert Document.unpacked(small).json["asset"]["extras"]["fingerprint"] == "f00d"
    for model in (mesh, from_glb(small)):  # red in front, grey behind
        texels = (model.uvs * 511).round().astype(int)
        colours = model.texture[texels[:, 1], texels[:, 0]].astype(float)
        redness = colours[:, 0] - colours[:, 2]
        assert (
            redness[model.vertices[:, 0] > 0.35].min() > 60 and np.abs(redness[model.vertices[:, 0] < 0.2]).max() < 30
        )


def test_files_for_browsers_are_small_and_whole(glb: bytes, mesh: TexturedMesh) -> None:
    packed = for_browsers(glb)
    assert len(packed) < len(glb) / 2
    document, contents = Document.unpacked(packed), contents_of_glb(packed)
    assert document.json["extensionsRequired"] == [WEBP, DRACO]
    assert len(contents.faces) == len(mesh.faces) and contents.textures[0].format == "WEBP"
    before = contents_of_glb(glb)
    assert contents.dimensions_m == pytest.approx(before.dimensions_m, rel=1e-3)
    nearest = np.abs(contents.positions[:, None] - before.positions[None]).sum(-1).min(axis=1)
    assert nearest.max() < LONG_SIDE_M * 1e-3


def test_khronos_finds_no_error(
    glb: bytes, mesh: TexturedMesh, khronos_report: Callable[[Path], dict[str, Any]] | None, tmp_path: Path
) -> None:
    if khronos_report is None:
        pytest.skip("Khronos' validator needs node and npm, and the network once")
    flat = np.zeros((512, 512, 3), np.uint8) + np.uint8([128, 128, 255])
    bumpy = to_glb(replace(mesh, material=Material(normals=flat)), LONG_SIDE_M)
    files = {"small": within(glb, 300, 256), "packed": for_browsers(glb), "bumpy": for_browsers(bumpy)}
    for name, data in files.items():
        path = tmp_path / f"{name}.glb"
        path.write_bytes(data)
        issues = khronos_report(path)["issues"]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues


def test_usdz_is_as_arkit_wants_it_and_as_large_as_the_glb(glb: bytes) -> None:
    usdz, before = to_usdz(glb), contents_of_glb(glb)
    assert what_arkit_would_say(usdz) == []
    contents = contents_of_usdz(usdz)
    assert contents.dimensions_m == pytest.approx(before.dimensions_m)
    assert (contents.faces == before.faces).all() and np.abs(contents.uvs - before.uvs).max() < 1e-6
    assert contents.materials == 1 and [texture.role for texture in contents.textures] == [BASE_COLOUR]
    assert to_usdz(glb) == usdz


@pytest.fixture
def whole_material(mesh: TexturedMesh) -> bytes:
    """With occlusion, roughness and metalness in a texture."""
    occlusion = np.full((512, 512), 200, np.uint8)
    return to_glb(replace(mesh, material=Material(0.4, 0.0, occlusion)), LONG_SIDE_M)


def test_every_target_keeps_the_whole_material(whole_material: bytes) -> None:
    both = [BASE_COLOUR, "roughness and metalness"]
    for made in (whole_material, within(whole_material, 300, 512), for_browsers(whole_material)):
        assert [texture.role for texture in contents_of_glb(made).textures] == both
    small = from_glb(within(whole_material, 300, 512)).material
    assert small.roughness == pytest.approx(0.4, abs=0.01) and small.occlusion is not None
    usdz = to_usdz(whole_material)
    assert what_arkit_would_say(usdz) == []
    assert sorted(texture.role for texture in contents_of_usdz(usdz).textures) == [
        BASE_COLOUR,
        "occlusion roughness metalness",
    ]


def test_every_target_keeps_the_normal_map(mesh: TexturedMesh) -> None:
    flat = np.zeros((512, 512, 3), np.uint8) + np.uint8([128, 128, 255])
    bumpy = to_glb(replace(mesh, material=Material(normals=flat)), LONG_SIDE_M)
    for made in (within(bumpy, 300, 512), within(bumpy, 100_000, 256), for_browsers(bumpy)):
        assert [texture.role for texture in contents_of_glb(made).textures] == [BASE_COLOUR, NORMALS]
    few = from_glb(within(bumpy, 300, 512)).material.normals
    assert few is not None and few[..., 2].mean() > 240  # outwards, for the most part
    usdz = to_usdz(bumpy)
    assert what_arkit_would_say(usdz) == []
    assert [texture.role for texture in contents_of_usdz(usdz).textures] == [BASE_COLOUR, NORMALS]


def test_an_unlit_material_glows_in_usdz(mesh: TexturedMesh, tmp_path: Path) -> None:
    from pxr import Usd, UsdShade

    usdz = to_usdz(to_glb(replace(mesh, material=Material(unlit=True)), LONG_SIDE_M))
    assert what_arkit_would_say(usdz) == []
    (tmp_path / "unlit.usdz").write_bytes(usdz)
    stage = Usd.Stage.Open(str(tmp_path / "unlit.usdz"))
    surface = UsdShade.Shader(stage.GetPrimAtPath("/product/material/surface"))
    assert surface.GetInput("emissiveColor").GetConnectedSource()[0].GetPath().name == "base_colour"
    assert tuple(surface.GetInput("diffuseColor").Get()) == tuple(surface.GetInput("specularColor").Get()) == (0, 0, 0)
    assert [texture.role for texture in contents_of_usdz(usdz).textures] == [BASE_COLOUR]


def test_a_usdz_that_arkit_refuses_is_told(glb: bytes, tmp_path: Path) -> None:
    from pxr import Usd, UsdGeom, UsdUtils

    (tmp_path / "good.usdz").write_bytes(to_usdz(glb))
    stage = Usd.Stage.Open(str(tmp_path / "good.usdz"))
    UsdGeom.SetStageMetersPerUnit(stage, 0.01)
    stage.Flatten().Export(str(tmp_path / "text.usda"))
    UsdUtils.CreateNewUsdzPackage(str(tmp_path / "text.usda"), str(tmp_path / "bad.usdz"))
    said = what_arkit_would_say((tmp_path / "bad.usdz").read_bytes())
    assert "The USDZ does not begin with a binary layer (.usdc)." in said
    assert "The USDZ is not in metres with +y up." in said


def test_what_is_no_usdz_is_told_in_a_sentence() -> None:
    with pytest.raises(ProductError, match="no USDZ"):
        contents_of_usdz(b"no package")
