"""Each check of the gate lets a good file through, and says in a sentence what is wrong with a bad one."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.document import Document
from mpod_pipeline.geometry.glb import TexturedMesh, to_glb
from mpod_pipeline.publish.checks import CHECKS, Examined, Layout, what_is_wrong
from mpod_pipeline.publish.contents import contents_of_glb
from mpod_pipeline.publish.settings import TargetSettings
from tests.publish.conftest import LONG_SIDE_M


def told(data: bytes, **limits: Any) -> list[str]:
    settings = TargetSettings(**{"triangles": 100_000, **limits})
    return what_is_wrong(Examined("the shop", contents_of_glb(data), settings))


def test_a_good_file_passes_every_check(glb: bytes) -> None:
    assert told(glb, height_cm=LONG_SIDE_M * 80, width_cm=LONG_SIDE_M * 100, megabytes=1.0) == []
    assert told(glb, long_side_m=LONG_SIDE_M) == []


def test_size(glb: bytes) -> None:
    (sentence,) = told(glb, megabytes=0.001)
    assert sentence == f"The file has {len(glb) / 1e6:.2f} MB; the shop takes at most 0.001."


def test_triangles(glb: bytes) -> None:
    (sentence,) = told(glb, triangles=100)
    assert sentence.endswith("triangles; the shop takes at most 100.")


def test_materials(glb: bytes) -> None:
    document = Document.unpacked(glb)
    document.json["materials"] *= 2
    assert told(document.packed()) == ["The model has 2 materials; the shop wants one."]


def with_texture(glb: bytes, picture: Image.Image, format: str = "PNG") -> bytes:
    document, stream = Document.unpacked(glb), io.BytesIO()
    picture.save(stream, format)
    document.views[document.json["images"][0]["bufferView"]] = stream.getvalue()
    return document.packed()


@pytest.mark.parametrize(
    ("width", "height", "format", "said"),
    [
        (500, 512, "PNG", "has 500 x 512 pixels; each side must be a power of two"),
        (256, 256, "PNG", "has 256 x 256 pixels; fewer than 512 look blurred"),
        (4096, 4096, "JPEG", "has 4096 x 4096 pixels; the shop takes at most 2048"),
        (512, 512, "WEBP", "is a WEBP; the shop takes JPEG or PNG"),
    ],
)
def test_textures(glb: bytes, width: int, height: int, format: str, said: str) -> None:
    (sentence,) = told(with_texture(glb, Image.new("RGB", (width, height), "grey"), format))
    assert sentence.startswith("The texture of its base colour ") and said in sentence


def test_a_model_without_a_texture(glb: bytes) -> None:
    document = Document.unpacked(glb)
    del document.json["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"]
    assert told(document.packed()) == ["The model has no texture with its colours."]


def test_dimensions(glb: bytes) -> None:
    (sentence,) = told(glb, height_cm=20)
    assert sentence == "Its height is 9.6 cm, and products.csv says 20.0 cm: 52% off, and 5% are allowed."
    assert told(glb, height_cm=LONG_SIDE_M * 80 * 1.04) == []
    (sentence,) = told(glb, long_side_m=1.0)
    assert sentence.startswith("Its long side is 12.0 cm, and products.csv says 100.0 cm")


@pytest.mark.parametrize(("grey", "how"), [(5, "darker"), (253, "lighter")])
def test_base_colour(glb: bytes, grey: int, how: str) -> None:
    (sentence,) = told(with_texture(glb, Image.new("RGB", (512, 512), (grey,) * 3)))
    assert sentence == f"100% of its surface are {how} than real things are: was the photo so?"


def changed_uvs(mesh: TexturedMesh, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    return to_glb(replace(mesh, uvs=change(mesh.uvs).astype(np.float32)), LONG_SIDE_M)


def test_uv_overlap(mesh: TexturedMesh) -> None:
    left = mesh.uvs[mesh.faces].mean(axis=1)[:, 0] < 0.5
    folded = changed_uvs(mesh, lambda uvs: np.where(uvs[:, :1] > 0.5, [1, 0] - uvs * [1, -1], uvs))
    assert 0 < left.mean() < 1
    assert any("share" in sentence and "of the texture" in sentence for sentence in told(folded))


def test_uvs_outside(mesh: TexturedMesh) -> None:
    assert "Its texture is laid out beyond the picture's edge." in told(changed_uvs(mesh, lambda uvs: uvs * 2))


def test_gutter(mesh: TexturedMesh, glb: bytes) -> None:
    apart = Layout(contents_of_glb(glb), 512).gutter
    assert 4 <= apart < np.inf
    (sentence,) = told(glb, gutter_texels=apart + 1)
    assert sentence.startswith(f"Islands of its texture are {apart:.1f} texels apart")


def test_two_islands_are_as_far_apart_as_they_were_put() -> None:
    """Two squares of 100 texels, 7 texels between them."""
    corners = np.array([[10, 10], [110, 10], [110, 110], [10, 110]])
    uvs = np.concatenate([corners, corners + np.array([107, 0])]) / 512
    faces = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    normals = np.tile(np.float32([0, 0, 1]), (8, 1))
    mesh = TexturedMesh(normals, faces, uvs.astype(np.float32), normals, np.zeros((512, 512, 3), np.uint8))
    contents = replace(contents_of_glb(to_glb(replace(mesh, vertices=np.eye(8, 3, dtype=np.float32)))), uvs=mesh.uvs)
    layout = Layout(contents, 512)
    assert layout.gutter == 7 and abs(layout.shared_percent) < 0.1


def test_holes(mesh: TexturedMesh) -> None:
    open_one = to_glb(replace(mesh, faces=mesh.faces[1:]), LONG_SIDE_M)
    assert told(open_one) == ["The surface is open along 3 edges."]
    assert told(open_one, closed=False) == []


def test_fins(mesh: TexturedMesh) -> None:
    a, b, c = mesh.faces[0]
    far = mesh.vertices[c] + np.float32([0, 0, 0.3])
    fin = replace(
        mesh,
        vertices=np.vstack([mesh.vertices, far]),
        uvs=np.vstack([mesh.uvs, mesh.uvs[c]]),
        normals=np.vstack([mesh.normals, mesh.normals[c]]),
        faces=np.vstack([mesh.faces, [a, b, len(mesh.vertices)], [b, a, len(mesh.vertices)]]),
    )
    assert "More than two faces meet at 1 edge of the surface." in told(to_glb(fin, LONG_SIDE_M))


def test_every_check_has_a_test() -> None:
    names = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    same = {"manifold": "holes"}
    assert {same.get(check.__name__, check.__name__) for check in CHECKS} <= names


@pytest.mark.parametrize("data", [b"", b"glTF", b"no model at all" * 10])
def test_what_is_no_glb_is_told_in_a_sentence(data: bytes) -> None:
    with pytest.raises(ProductError, match="no GLB"):
        contents_of_glb(data)


def test_a_file_whose_nodes_move_is_refused(glb: bytes) -> None:
    document = Document.unpacked(glb)
    document.json["nodes"][0]["scale"] = [2, 2, 2]
    with pytest.raises(ProductError, match="a node moves its mesh"):
        contents_of_glb(document.packed())
