"""GLBs that others made: whatever trimesh reads is one textured mesh in the axes of the world."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image
from trimesh.visual.material import PBRMaterial

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.foreign_glb import from_any_glb
from mpod_pipeline.geometry.glb import TexturedMesh, from_glb, to_glb
from mpod_pipeline.geometry.texture import bake, draw
from mpod_pipeline.rendering.cameras import Cameras
from tests.geometry.models import exported, letter, plain, strokes
from tests.geometry.shapes import box


@pytest.fixture(scope="module")
def lettered() -> TexturedMesh:
    return bake(box(), letter, 512)


def in_trimesh(mesh: TexturedMesh) -> trimesh.Trimesh:
    """A mesh of ours as trimesh has it, with a PNG for texture."""
    uvs = mesh.uvs * [1, -1] + [0, 1]
    visual = trimesh.visual.TextureVisuals(uv=uvs, material=PBRMaterial(baseColorTexture=Image.fromarray(mesh.texture)))
    return trimesh.Trimesh(mesh.vertices[:, [1, 2, 0]], mesh.faces, visual=visual, process=False)


def from_the_front(mesh: TexturedMesh) -> np.ndarray:
    return draw(mesh, Cameras.at(0.0, 0.0), 64)[0][0].numpy()


def test_a_file_of_ours_is_read_as_ever(lettered: TexturedMesh) -> None:
    data = to_glb(lettered, 0.3)
    here, there = from_glb(data), from_any_glb(data)
    assert all(np.array_equal(getattr(here, name), getattr(there, name)) for name in vars(here))


def test_what_trimesh_itself_exports_reads_correctly(lettered: TexturedMesh) -> None:
    returned = from_any_glb(exported(in_trimesh(lettered)))
    picture, _, normals = draw(returned, Cameras.at([0.0, 180.0], 0.0), 128)
    assert strokes(picture[0]) == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert float(picture[1].min()) > 0.8  # nothing on the back
    assert float(normals[0, 64, 64, 0]) > 0.5  # the file had none


def test_several_meshes_stand_where_the_scene_moves_them() -> None:
    """A red cube to the left of a green one twice as large, of which only the nodes know."""
    left, right = trimesh.transformations.translation_matrix([-0.4, 0, 0]), np.diag([2.0, 2.0, 2.0, 1.0])
    right[0, 3] = 0.4
    mesh = from_any_glb(exported(plain([255, 0, 0, 255]), plain([0, 255, 0, 255]), g0=left, g1=right))
    assert mesh.vertices.min(axis=0) == pytest.approx([-0.4, -0.6, -0.4], abs=1e-6)  # +x front, +y right, +z up
    assert mesh.vertices.max(axis=0) == pytest.approx([0.4, 0.8, 0.4], abs=1e-6)
    picture = from_the_front(mesh)
    assert picture[32, 18] == pytest.approx([1, 0, 0], abs=0.02)
    assert picture[32, 44] == pytest.approx([0, 1, 0], abs=0.02)


def test_a_plain_colour_is_linear_in_the_file_and_not_in_the_picture() -> None:
    mesh = from_any_glb(exported(plain([55, 55, 55, 255])))
    assert from_the_front(mesh)[32, 32] == pytest.approx(0.5, abs=0.01)  # 0.2158 linear


def test_a_textured_and_a_plain_mesh_keep_their_colours(lettered: TexturedMesh) -> None:
    up = trimesh.transformations.translation_matrix([0, 0.7, 0])
    mesh = from_any_glb(exported(in_trimesh(lettered), plain([0, 0, 255, 255], transform=up)))
    picture = draw(mesh, Cameras.at(0.0, 0.0), 128)[0][0]
    assert strokes(picture) == [[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 0, 0], [1, 0, 0]]
    assert picture[12, 64].numpy() == pytest.approx([0, 0, 1], abs=0.02)


def test_vertex_colours_blend_over_the_faces() -> None:
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.7)
    linear = ((ball.vertices / 0.7 + 1) / 2 * 255).round().astype(np.uint8)
    ball.visual = trimesh.visual.ColorVisuals(ball, vertex_colors=linear)
    mesh = from_any_glb(exported(ball))
    picture = from_the_front(mesh)
    seen = draw(mesh, Cameras.at(0.0, 0.0), 64)[1][0].numpy() == 1
    rows, columns = np.nonzero(seen)
    direction, point = Cameras.at(0.0, 0.0).rays(64, 64)[1][0].numpy(), np.array([2.5, 0, 0])
    along = direction[rows, columns]
    reach = -(along @ point) - np.sqrt((along @ point) ** 2 - 2.5**2 + 0.7**2 + 1e-9)
    x, y, z = (point + reach[:, None] * along).T / 0.7
    expected = trimesh.visual.color.linear_to_srgb((np.stack([y, z, x], axis=1) + 1) / 2)
    error = np.abs(picture[rows, columns] - expected)
    assert np.nanmedian(error) < 0.02 and np.nanpercentile(error, 95) < 0.06


def test_a_texture_that_goes_round_several_times_is_repeated() -> None:
    stripes = np.zeros((2, 64, 3), np.uint8)
    stripes[:, 32:] = 255
    corners = np.array([[-0.5, -0.5, 0.0], [0.5, -0.5, 0.0], [0.5, 0.5, 0.0], [-0.5, 0.5, 0.0]])
    uvs = np.array([[-1.0, 0.0], [3.0, 0.0], [3.0, 1.0], [-1.0, 1.0]])
    material = PBRMaterial(baseColorTexture=Image.fromarray(stripes))
    wall = trimesh.Trimesh(
        corners, [[0, 1, 2], [0, 2, 3]], visual=trimesh.visual.TextureVisuals(uv=uvs, material=material), process=False
    )
    line = from_the_front(from_any_glb(exported(wall)))[32, 16:48, 0]  # within the wall
    assert np.count_nonzero(np.diff(line > 0.5)) in (6, 7, 8)  # four pairs of stripes in 35 pixels


def test_a_factor_dims_the_texture(lettered: TexturedMesh) -> None:
    dimmed = in_trimesh(lettered)
    dimmed.visual.material.baseColorFactor = [55, 55, 55, 255]
    bright = float(from_the_front(lettered)[50, 50, 0])
    assert float(from_the_front(from_any_glb(exported(dimmed)))[50, 50, 0]) == pytest.approx(
        float(trimesh.visual.color.linear_to_srgb(trimesh.visual.color.srgb_to_linear(bright) * 55 / 255)), abs=0.02
    )


@pytest.mark.parametrize("data", [b"", b"glTF", b"not a model at all", b"glTF" + bytes(40)])
def test_a_file_that_is_no_model_is_the_products_trouble(data: bytes) -> None:
    with pytest.raises(ProductError, match="not a GLB that can be read"):
        from_any_glb(data)


def test_a_file_without_triangles_says_so() -> None:
    points = trimesh.Scene([trimesh.PointCloud(torch.rand(5, 3).numpy())])
    with pytest.raises(ProductError, match="no triangles"):
        from_any_glb(points.export(file_type="glb"))


def written_over(data: bytes, accessor: int, what: bytes) -> bytes:
    """A GLB with other bytes at the beginning of what an accessor reads."""
    (length,) = struct.unpack_from("<I", data, 12)
    content = json.loads(data[20 : 20 + length])
    start = 28 + length + content["bufferViews"][content["accessors"][accessor]["bufferView"]]["byteOffset"]
    return data[:start] + what + data[start + len(what) :]


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize(
    ("accessor", "what", "said"),
    [(3, b"\xfe\xff", "triangles without vertices"), (0, b"\x00\x00\xc0\x7f", "vertices that are nowhere")],
    ids=["index", "position"],
)
def test_a_damaged_mesh_never_reaches_the_kernels(
    accessor: int, what: bytes, said: str, ours: bool, lettered: TexturedMesh
) -> None:
    data = written_over(to_glb(lettered), accessor, what)
    if not ours:
        data = data.replace(b"mpod_pipeline", b"somebody_else")
    with pytest.raises(ProductError, match=f"{said}|not a GLB that can be read"):
        from_any_glb(data)
