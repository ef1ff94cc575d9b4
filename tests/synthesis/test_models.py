"""Models of others in the studio: as they stand in their files, and lit as products are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
import trimesh

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.synthesis.models import LONGEST_EDGE, read_model
from mpod_pipeline.synthesis.views import photograph_model, photograph_models
from tests.geometry.models import exported, plain

RED, GREEN = [255, 0, 0, 255], [0, 255, 0, 255]


@dataclass(frozen=True)
class Given:
    """A model that is not in a folder."""

    glb: bytes
    name: str = "blocks"
    caption: str = "two blocks"
    front: str = "+z"
    up: str = "+y"

    def __call__(self) -> bytes:
        return self.glb


def blocks(scale: float = 1.0) -> bytes:
    """In the file's axes: a red cube, and a green one above and before it."""
    move = trimesh.transformations.translation_matrix
    larger = np.diag([scale, scale, scale, 1.0])
    return exported(plain(RED), plain(GREEN), g0=larger, g1=larger @ move([0, 0.4, 0.2]))


def middle_of(model: object, colour: list[int]) -> np.ndarray:
    """The middle of what has a colour."""
    faces = np.arange(len(model.faces))  # type: ignore[attr-defined]
    thirds = np.full((len(faces), 3), 1 / 3, np.float32)
    points = np.einsum("nk,nkc->nc", thirds, model.vertices[model.faces])  # type: ignore[attr-defined]
    seen = model.colour(faces, thirds, points, points)  # type: ignore[attr-defined]
    here = np.abs(seen - np.array(colour[:3]) / 255).max(1) < 0.01
    assert here.any()
    return points[here].mean(0)


def test_a_model_stands_as_its_file_says_at_a_size_of_one() -> None:
    for scale in (0.01, 50.0):
        model = read_model(blocks(scale), "two blocks")
        assert model.vertices.min(0) == pytest.approx([-0.375, -0.25, -0.5], abs=1e-5)  # front, right, up
        assert model.vertices.max(0) == pytest.approx([0.375, 0.25, 0.5], abs=1e-5)
        assert middle_of(model, GREEN) == pytest.approx([0.125, 0, 0.25], abs=1e-4)


@pytest.mark.parametrize(
    ("front", "up", "green"),
    [("-z", "+y", [-0.125, 0, 0.25]), ("+y", "-z", [0.25, 0, -0.125]), ("+x", "+y", [0, -0.125, 0.25])],
)
def test_a_table_says_where_front_and_up_are(front: str, up: str, green: list[float]) -> None:
    assert middle_of(read_model(blocks(), "", front, up), GREEN) == pytest.approx(green, abs=1e-4)


def test_large_triangles_are_cut_and_edges_stay_sharp() -> None:
    model = read_model(blocks(), "two blocks")
    corners = model.vertices[model.faces]
    assert np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=-1).max() <= LONGEST_EDGE + 1e-5
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    facing = np.einsum("fkc,fc->fk", model.corner_normals, flat)
    assert facing.min() > 0.99  # a cube's, and still outwards


def test_a_model_is_photographed_alike_each_time_and_in_several_studios() -> None:
    one, again = (photograph_model(Given(blocks()), 2, 3, 32) for _ in range(2))
    assert all(np.array_equal(a.pictures, b.pictures) for a, b in zip(one, again, strict=True))
    assert [views.seed for views in one] == [0, 1] and one[0].caption == "two blocks"
    assert one[0].pictures.shape == (3, 32, 32, 4) and one[0].azimuth_deg[0] == 0
    assert not np.array_equal(one[0].pictures, one[1].pictures)
    photo = one[0].pictures[0]
    reds = (photo[..., 3] == 255) & (photo[..., 0] > 2 * photo[..., 1])
    greens = (photo[..., 3] == 255) & (photo[..., 1] > 2 * photo[..., 0])
    assert np.nonzero(reds)[0].mean() > np.nonzero(greens)[0].mean() + 5  # the red one is below


@dataclass(frozen=True)
class Broken(Given):
    glb: bytes = b"not a model"
    name: str = field(default="broken")


def test_what_cannot_be_photographed_says_why_and_holds_up_nothing() -> None:
    long = Given(exported(plain(RED), g0=np.diag([1.0, 1.0, 9.0, 1.0])))  # its photo is of the narrow side
    none, narrow, good = photograph_models([Broken(), long, Given(blocks())], 1, 2, 16, workers=1)
    assert isinstance(none, ProductError) and "not a GLB" in str(none)
    assert isinstance(narrow, ProductError) and "another front" in str(narrow)
    assert not isinstance(good, ProductError)
    assert photograph_model(Given(long.glb, front="+x"), 1, 2, 16)
