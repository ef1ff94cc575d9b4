"""What a shop says of a product's size and symmetry: proportions, contradictions, and shapes that keep to them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpod_pipeline.base.parameters import SizeParameters, Symmetry
from mpod_pipeline.fields.outline_field import OutlineField, folded
from mpod_pipeline.method.cutouts import Cutout, Cutouts
from mpod_pipeline.method.outline import optimize_outline
from mpod_pipeline.method.proportions import bring_to_depth, measured_extents, shows_depth
from mpod_pipeline.method.size import contradiction, long_side_m, stretch_to
from mpod_pipeline.method.symmetry import counterparts, is_unseen, symmetry_loss
from mpod_pipeline.priors import NovelViewPrior
from mpod_pipeline.priors.sds import SdsParameters
from tests.method.conftest import SMALL_FIELD
from tests.method.quick import QUICK_OUTLINE

SYMMETRIES: list[Symmetry] = ["left_right", "front_back", "both", "revolution"]


@pytest.mark.parametrize("told", [{}, {"width_cm": 30.0}, {"height_cm": 50.0, "depth_cm": 10.0}, None])
def test_a_model_gets_the_sizes_that_are_told(told: dict[str, float] | None) -> None:
    size = SizeParameters(**({"width_cm": 30, "height_cm": 60, "depth_cm": 20} if told is None else told))
    extents = np.array([0.8, 1.0, 1.5])
    stretched = extents * stretch_to(extents, size)
    metres = stretched * long_side_m(stretched, size, 0.3) / stretched.max()
    for made, wanted in zip(metres, size.told_cm, strict=True):
        assert wanted is None or made == pytest.approx(wanted / 100)
    if not told and told is not None:
        assert (stretched == extents).all() and metres.max() == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("size", "seen", "told"),
    [
        ({"width_cm": 50, "height_cm": 100}, 2.0, False),
        ({"width_cm": 50, "height_cm": 100}, 1.1, True),
        ({"width_cm": 100, "height_cm": 50}, 2.0, True),
        ({"width_cm": 50}, 9.0, False),
    ],
)
def test_numbers_that_contradict_the_photo_are_told(size: dict[str, float], seen: float, told: bool) -> None:
    assert bool(contradiction(seen, 0.0, SizeParameters(**size))) == told


def test_a_camera_above_sees_depth_as_height() -> None:
    deep = SizeParameters(width_cm=50, height_cm=50, depth_cm=100)
    assert contradiction(np.cos(np.pi / 6) + 2 * np.sin(np.pi / 6), 30.0, deep) == ""
    assert contradiction(1.0, 30.0, deep)


def test_a_field_is_brought_to_the_told_depth() -> None:
    field = OutlineField(SMALL_FIELD.model_copy(update={"blob_scale": 40.0}))
    field.occupancy.update(0, field.density)
    before = measured_extents(field)
    assert before[0] == pytest.approx(before[1], rel=0.08)
    for _ in range(3):
        bring_to_depth(field, 1, 0.5)
    x, y, _ = measured_extents(field)
    assert x / y == pytest.approx(0.5, rel=0.12)  # two pixels of thirty


def test_only_a_photo_from_the_side_shows_the_depth() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    for azimuth, shows in ((180.0, False), (90.0, True), (270.0, True), (10.0, False)):
        assert shows_depth(Cutouts((Cutout(picture, 0.0), Cutout(picture, 0.0, azimuth, "other")))) == shows


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_density_is_symmetric_to_the_bit_whatever_is_learnt(symmetry: Symmetry) -> None:
    field = OutlineField(SMALL_FIELD.model_copy(update={"symmetry": symmetry}), seed=3)
    with torch.no_grad():
        field.encoding.table.normal_(generator=torch.Generator().manual_seed(0))
    points = torch.rand(200, 3, generator=torch.Generator().manual_seed(1)) * 1.6 - 0.8
    density = field.density(points)
    assert density.std() > 0.1
    for mirrored in like_points(points, symmetry):
        assert torch.allclose(field.density(mirrored), density, rtol=1e-4, atol=1e-4)
        assert torch.allclose(field(mirrored)[0], density, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(field.colour(like_points(points, symmetry)[0]), field.colour(points), atol=1e-3)


def like_points(points: torch.Tensor, symmetry: Symmetry) -> list[torch.Tensor]:
    x, y, z = points.unbind(dim=-1)
    left, back = torch.stack([x, -y, z], dim=-1), torch.stack([-x, y, z], dim=-1)
    turned = torch.stack([0.6 * x - 0.8 * y, 0.8 * x + 0.6 * y, z], dim=-1)
    cases = {"left_right": [left], "front_back": [back], "both": [left, back], "revolution": [turned, left]}
    return cases[symmetry]


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_counterparts_are_like_points_and_nearer_to_the_front(symmetry: Symmetry) -> None:
    points = torch.randn(50, 3)
    other = counterparts(points, symmetry)
    assert torch.allclose(folded(other, symmetry), folded(points, symmetry), atol=1e-6)
    if symmetry != "left_right":
        assert (other[:, 0] >= points[:, 0] - 1e-6).all()


def test_only_what_no_photo_shows_is_asked() -> None:
    picture = np.zeros((8, 8, 4), np.uint8)
    photos = Cutouts((Cutout(picture, 10.0), Cutout(picture, 10.0, 90.0, "right")))
    points = torch.tensor([[1.0, 0, 0], [0, 1.0, 0], [-1.0, 0, 0], [0, -1.0, 0]])
    assert is_unseen(points, photos).tolist() == [False, False, True, True]
    field = OutlineField(SMALL_FIELD.model_copy(update={"symmetry": "front_back"}), seed=1)
    with torch.no_grad():
        field.encoding.table.normal_()
    assert symmetry_loss(field, points[:2], photos, torch.Generator()) == 0
    loss = symmetry_loss(field, points, photos, torch.Generator())
    loss.backward()
    assert loss > 0 and field.network["albedo"].output.grad.abs().sum() > 0


def test_the_back_of_a_turned_thing_gets_the_fronts_colours(cutouts: Cutouts, novel_view: NovelViewPrior) -> None:
    """The disc is red above and blue below; score distillation is silent, so nothing else tells the back."""
    p = QUICK_OUTLINE.model_copy(
        update={"steps": 120, "symmetry": "revolution", "sds": SdsParameters(guidance_scale=1.0, weight=0.0)}
    )
    field = optimize_outline(cutouts, novel_view, p, 0, lambda *_: None).field
    above, below = field.colour(torch.tensor([[-0.4, 0.0, 0.2], [-0.4, 0.0, -0.2]]))
    assert above[0] > above[2] + 0.2 and below[2] > below[0] + 0.2
