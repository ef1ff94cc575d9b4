"""GLB: valid, deterministic, within shops' limits, and the right way round."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib as gltf
import pytest

from mpod_pipeline import __version__
from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.glb import UNLIT, Material, TexturedMesh, from_glb, to_glb
from mpod_pipeline.geometry.texture import bake, draw
from mpod_pipeline.rendering.cameras import Cameras
from tests.geometry.models import letter, strokes
from tests.geometry.shapes import ball, box


@pytest.fixture(scope="module")
def lettered() -> TexturedMesh:
    return bake(box(), letter, 512)


def test_a_letter_reads_correctly_after_the_round_trip(lettered: TexturedMesh) -> None:
    returned = from_glb(to_glb(lettered))
    picture, _, _ = draw(returned, Cameras.at([0.0, 180.0], 0.0), 128)
    assert strokes(picture[0]) == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert float(picture[1].min()) > 0.8  # nothing on the back


def test_the_round_trip_keeps_the_material(lettered: TexturedMesh) -> None:
    occlusion = np.tile(np.arange(0, 256, dtype=np.uint8).repeat(2), (512, 1))
    for material in (Material(0.4, 1.0), Material(0.4, 1.0, unlit=True)):
        assert from_glb(to_glb(replace(lettered, material=material))).material == material
    returned = from_glb(to_glb(replace(lettered, material=Material(0.4, 0.2, occlusion)))).material
    assert (returned.roughness, returned.metalness) == pytest.approx((0.4, 0.2), abs=0.01)
    assert np.abs(returned.occlusion.astype(int) - occlusion).max() <= 4  # JPEG


def test_one_texture_has_occlusion_roughness_and_metalness(lettered: TexturedMesh) -> None:
    occlusion = np.full((64, 64), 200, np.uint8)
    document = gltf.GLTF2.load_from_bytes(to_glb(replace(lettered, material=Material(0.4, 0.0, occlusion, unlit=True))))
    (material,) = document.materials
    surface = material.pbrMetallicRoughness
    assert surface.metallicRoughnessTexture.index == material.occlusionTexture.index == 1
    assert (surface.roughnessFactor, surface.metallicFactor) == (1.0, 1.0)
    assert document.extensionsUsed == [UNLIT] and UNLIT in material.extensions
    assert len(document.images) == len(document.textures) == 2


def test_the_round_trip_keeps_the_mesh(lettered: TexturedMesh) -> None:
    returned = from_glb(to_glb(lettered))
    assert np.array_equal(returned.vertices, lettered.vertices)
    assert np.array_equal(returned.faces, lettered.faces)
    assert np.array_equal(returned.uvs, lettered.uvs)
    assert np.allclose(returned.normals, lettered.normals, atol=1e-6)
    # JPEG at quality 92
    assert np.abs(returned.texture.astype(int) - lettered.texture).mean() < 2


def document(data: bytes) -> dict:
    length = struct.unpack("<I", data[12:16])[0]
    content: dict = json.loads(data[20 : 20 + length])
    return content


def test_the_file_has_y_up_its_front_towards_z_and_one_material(lettered: TexturedMesh) -> None:
    stretched = replace(lettered, vertices=lettered.vertices * np.float32([1.0, 2.0, 3.0]))
    content = document(to_glb(stretched))
    position = content["accessors"][content["meshes"][0]["primitives"][0]["attributes"]["POSITION"]]
    # world x, y, z become glTF's z, x, y
    assert position["max"] == pytest.approx([1.0, 1.5, 0.5])
    (material,) = content["materials"]
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert not material.get("doubleSided", False)
    assert content["images"][0]["mimeType"] == "image/jpeg"


def test_the_same_mesh_gives_the_same_bytes(lettered: TexturedMesh) -> None:
    assert to_glb(lettered) == to_glb(lettered)
    assert to_glb(bake(box(), letter, 512)) == to_glb(lettered)


def test_many_vertices_take_wide_indices() -> None:
    count = 66_000
    positions = np.random.default_rng(0).random((count, 3), np.float32)
    faces = np.array([[0, 1, 2], [count - 3, count - 2, count - 1]])
    mesh = TexturedMesh(positions, faces, positions[:, :2], positions, np.zeros((4, 4, 3), np.uint8))
    assert np.array_equal(from_glb(to_glb(mesh)).faces, faces)


def test_what_shops_would_refuse_is_a_products_failure(lettered: TexturedMesh) -> None:
    with pytest.raises(ProductError, match="fewer than 100000"):
        to_glb(replace(lettered, faces=np.tile(lettered.faces, (8334, 1))))
    with pytest.raises(ProductError, match="larger than 2048"):
        to_glb(replace(lettered, texture=np.zeros((2049, 2049, 3), np.uint8)))
    with pytest.raises(ProductError, match="no surface"):
        to_glb(replace(lettered, faces=lettered.faces[:0]))
    noise = np.random.default_rng(0).integers(0, 256, (2048, 2048, 3), np.uint8)
    heavy = np.repeat(lettered.vertices, 10_000, axis=0)
    spread = {name: np.repeat(getattr(lettered, name), 10_000, axis=0) for name in ("uvs", "normals")}
    with pytest.raises(ProductError, match="bytes"):
        to_glb(replace(lettered, vertices=heavy, texture=noise, **spread))


def test_a_viewer_sees_it_in_metres_on_the_floor() -> None:
    """The vertices themselves, so that a tool that leaves nodes alone sees it too; read back, it is where it was."""
    mesh = bake(ball(0.7, 12), lambda points: points + 0.5, 64)
    tall = replace(mesh, vertices=mesh.vertices * np.array([1, 1, 2], np.float32) + np.float32([0.3, -0.2, 0.1]))
    data = to_glb(tall, 0.25)
    document = gltf.GLTF2.load_from_bytes(data)
    (node,) = document.nodes
    assert (node.scale, node.translation, node.rotation, node.matrix) == (None, None, None, None)
    position = document.accessors[document.meshes[0].primitives[0].attributes.POSITION]
    low, high = np.array(position.min), np.array(position.max)
    assert high[1] - low[1] == pytest.approx(0.25) and low[1] == pytest.approx(0, abs=1e-6)  # +y is up
    assert high[0] - low[0] == pytest.approx(0.125, rel=0.02)
    np.testing.assert_allclose((low + high)[[0, 2]], 0, atol=1e-6)  # the origin is the centre of the base
    np.testing.assert_allclose(from_glb(data).vertices, tall.vertices, atol=1e-6)


def test_a_file_says_whose_it_is_and_what_made_it(lettered: TexturedMesh) -> None:
    content = document(to_glb(lettered, 0.3, name="kite-mug", made_by={"settings": {"triangles": 12}}))
    for kind in ("nodes", "meshes", "materials"):
        assert [one["name"] for one in content[kind]] == ["kite-mug"]
    assert content["asset"]["generator"] == f"mpod_pipeline {__version__}"
    said = content["asset"]["extras"]
    assert (said["id"], said["version"], said["settings"]) == ("kite-mug", __version__, {"triangles": 12})


@pytest.mark.filterwarnings("ignore:pygltflib does not support")
@pytest.mark.parametrize("data", [b"", b"glTF", b"not a model at all", b"glTF" + bytes(40)])
def test_a_file_that_is_no_model_is_a_products_failure(data: bytes) -> None:
    with pytest.raises(ProductError, match="not a GLB"):
        from_glb(data)


def test_khronos_validator_finds_nothing(
    khronos_report: Callable[[Path], dict[str, Any]] | None, tmp_path: Path, lettered: TexturedMesh
) -> None:
    if khronos_report is None:
        pytest.skip("needs node, npm and its registry")
    round_one = bake(ball(0.7, 12), lambda points: points + 0.5, 256)
    for name, mesh, long_side_m in (("letter", lettered, None), ("ball", round_one, 0.3)):
        path = tmp_path / f"{name}.glb"
        made_by = {"fingerprint": "0" * 64, "settings": {"triangles": 20_000}}
        path.write_bytes(to_glb(mesh, long_side_m, name="Tasse, groß", made_by=made_by))
        report = khronos_report(path)
        issues = report["issues"]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
        assert report["info"]["totalTriangleCount"] == len(mesh.faces)
