"""UVs and baking."""

import numpy as np
import pytest
import torch
from torch import Tensor

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry import texture
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.texture import bake, draw, unwrap
from mpod_pipeline.rendering.cameras import Cameras
from tests.geometry.shapes import ball, box


def by_position(points: Tensor) -> Tensor:
    return points * 0.6 + 0.5


@pytest.mark.parametrize("piece", [100_000, 500], ids=["in one", "in pieces"])
def test_uvs_are_in_the_unit_square_and_do_not_overlap(piece: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texture, "PIECE", piece)
    mesh = ball(0.7, 16)
    origin, faces, uvs = unwrap(mesh, 256)
    assert uvs.min() >= 0 and uvs.max() <= 1
    assert np.array_equal(origin[faces], mesh.faces.numpy())
    a, b, c = np.moveaxis(uvs[faces].astype(np.float64), 1, 0)
    u, v = b - a, c - a
    areas = np.abs(u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]) / 2
    # painted one by one at 1024², the triangles cover as many texels as all of them together: none twice
    from mpod_pipeline.rendering.rasterize import rasterize_numpy

    flat = np.concatenate([uvs * [2, -2] + [-1, 1], np.ones((len(uvs), 1))], axis=1).astype(np.float32)
    covered = (rasterize_numpy(flat, faces, 1024, 1024)[0] >= 0).mean()
    assert covered == pytest.approx(areas.sum(), rel=0.01)


def test_pieces_are_all_faces_once_and_lie_together() -> None:
    centres = np.random.default_rng(0).uniform(size=(4 * texture.PIECE, 3)) * [4, 2, 1]
    found = texture.pieces(centres)
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(len(centres)))
    assert [len(piece) for piece in found] == [texture.PIECE] * 4
    # halved across the length, then across the width or the length that is left: no piece is longer than half
    assert max(np.ptp(centres[piece], axis=0)[0] for piece in found) < 2.1


def test_a_baked_texture_shows_the_field_everywhere_seams_included() -> None:
    mesh = ball(0.7, 20)
    cameras = Cameras.at([0.0, 100.0, 220.0], [0.0, 50.0, -50.0])
    picture, opacity, normals = draw(bake(mesh, by_position, 512), cameras, 96)
    position = draw_positions(mesh, cameras)
    inside = opacity > 0.999
    error = (picture - by_position(position)).abs().amax(dim=-1)[inside]
    # a step of 1/255, and a texel (about 0.008 of the surface) times the field's slope of 0.6
    assert error.max() < 0.02
    outward = (normals * torch.nn.functional.normalize(position, dim=-1)).sum(dim=-1)[inside]
    assert outward.min() > 0.98


def draw_positions(mesh: Mesh, cameras: Cameras) -> Tensor:
    """Surface positions at the pixels' middles: the mean of 2 × 2 samples, as ``draw`` takes it."""
    from mpod_pipeline.rendering.rasterize import rasterize

    fine = rasterize(mesh.vertices, mesh.faces, mesh.vertices, cameras, 192).attributes
    return torch.nn.functional.avg_pool2d(fine.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def test_gaps_between_islands_take_the_nearest_colour() -> None:
    texture = bake(box(), lambda points: torch.ones(len(points), 3), 128).texture
    assert (texture == 255).all()


def test_colours_out_of_range_are_cut_off() -> None:
    texture = bake(box(), lambda points: points * 100, 64).texture
    assert set(np.unique(texture)) >= {0, 255}


def test_only_points_on_the_surface_are_asked_for() -> None:
    asked: list[Tensor] = []

    def colour(points: Tensor) -> Tensor:
        asked.append(points)
        return points

    bake(box(), colour, 64)
    points = torch.cat(asked)
    assert len(points) > 1000
    assert (points.abs().amax(dim=-1) - 0.5).abs().max() < 1e-5


def test_an_empty_mesh_is_a_products_failure() -> None:
    with pytest.raises(ProductError, match="no surface"):
        bake(Mesh(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)), by_position, 64)
