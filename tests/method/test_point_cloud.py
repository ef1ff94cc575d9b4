"""Make-It-3D's second stage: a cloud that does not contradict its photo, and the network that draws it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.report import Report, no_report
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.fields.point_cloud import PointCloud
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.method.comparison.views import DrawingParameters, draw_views
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.detail import DetailParameters, FurtherGuides
from mpod_pipeline.method.export import ExportParameters, export_model
from mpod_pipeline.method.guidance.likeness import LikenessEncoders, LikenessParameters, load_likeness_encoders
from mpod_pipeline.method.masks import export_masks
from mpod_pipeline.method.point_cloud import refine_points
from mpod_pipeline.method.visible_points import CloudParameters, PhotoSurface, VisiblePoints, visible_points
from mpod_pipeline.metrics.ground_truth import psnr
from mpod_pipeline.priors import TextToImagePrior
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.points import THICKNESS, splat
from tests.method.quick import QUICK_MASKS, RADIUS, Ball

LIKENESS = LikenessParameters(view=10.0, contextual=1.0, estimate=0.0, below=0.0, size=32)
QUICK = DetailParameters.model_validate(
    {
        "second_stage": "points",
        "steps": 4,
        "grid_resolution": 12,
        "resolution": 32,
        "outline_resolution": 48,
        "mask_guidance": "none",
        "reference_probability": 0.5,
        "inpainting": {"colour": 0.0, "features": 0.0},
        "sds": {"guidance_scale": 5.0, "weight": 2.0},
        "likeness": LIKENESS.model_dump(),
    }
)
VIEWS = CloudParameters(azimuths=8)


class GreenBall(Ball):
    """Green all over, whatever the photo shows. Dense, so that it is seen at its surface."""

    def __init__(self) -> None:
        super().__init__(60.0)

    def colour(self, points: torch.Tensor) -> torch.Tensor:
        return super().colour(points) * 0.05 + torch.tensor([0.0, 0.9, 0.0])

    def forward(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.density(points), self.colour(points)


@cache
def encoders() -> LikenessEncoders:
    return load_likeness_encoders(LIKENESS, "cpu")


@pytest.fixture(scope="module")
def visible(cutouts: Cutouts) -> VisiblePoints:
    return visible_points(GreenBall(), cutouts.front, 64, 0.03, VIEWS, torch.Generator())


def refined(
    cutouts: Cutouts,
    prior: TextToImagePrior,
    report: Report = no_report,
    checkpoint: Checkpoint | None = None,
    **settings: object,
) -> PaintedSurface:
    p = QUICK.model_copy(update=settings)
    guides = FurtherGuides(encoders=encoders())
    field, token = GreenBall(), prior.word_embedding("a")
    masks = export_masks(field, QUICK_MASKS)
    return refine_points(cutouts, token, field, masks, prior, p, 0, report, checkpoint, guides)


def test_the_cloud_is_the_surface_as_the_photo_and_other_views_see_it(visible: VisiblePoints) -> None:
    aside = (visible.positions.norm(dim=-1) - RADIUS).abs()  # at the rim a ray's mean depth is inside
    assert float(aside.mean()) < THICKNESS and float(aside.max()) < 3 * THICKNESS
    x, _, z = visible.positions.unbind(dim=-1)
    red, green, blue = (visible.colours[:, channel] > 0.6 for channel in range(3))
    assert bool((red | green | blue).all())
    assert bool((x[visible.of_photo] > 0).all()) and bool(green[~visible.of_photo].all())
    assert bool((z[red] > -0.05).all()) and bool((z[blue] < 0.05).all())
    assert not green[x > 0.35].any() and not (red | blue)[x < 0].any()
    for azimuth in (0.0, 90.0, 180.0, 270.0):  # no hole, and no second layer under the first
        covered = splat(visible.positions, Cameras.at(azimuth, 0.0), 64).covered.sum()
        assert covered == pytest.approx(torch.pi * 18**2, rel=0.15)
    assert len(visible.positions) < 1.5 * 4 * 18**2 * torch.pi


def test_the_photo_decides_what_other_views_may_add() -> None:
    """Its camera looks along -x, at a surface at x = 0.2, and shows the product in the picture's left half alone."""
    left = torch.zeros(8, 8, dtype=torch.bool)
    left[:, :4] = True
    front = PhotoSurface(
        Cameras.at(0.0, 0.0), torch.full((8, 8), 2.3), left, torch.tensor([1.0, 0.0, 0.0]).expand(8, 8, 3), left
    )
    y = -0.3  # on the left
    before, on_it, behind, beside = [[0.4, y, 0.0], [0.18, y, 0.0], [-0.3, y, 0.0], [-0.3, -y, 0.0]]
    green = torch.tensor([0.0, 1.0, 0.0])
    allowed = front.allowed(torch.tensor([before, on_it, behind, beside]), green.expand(4, 3))
    torch.testing.assert_close(allowed.positions, torch.tensor([on_it, behind]))
    assert allowed.of_photo.tolist() == [True, False]
    assert allowed.colours.tolist() == [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


def test_no_point_stands_before_the_photos_or_beside_its_product(cutouts: Cutouts, visible: VisiblePoints) -> None:
    photo = cutouts.front
    seen = splat(visible.positions, photo.camera, 64).of(visible.colours)[0]
    surface = PhotoSurface.of(GreenBall(), photo, 64, 0.03)
    assert float(seen[surface.known][:, 1].max()) < 0.2  # none of the field's green
    reached = seen.sum(dim=-1) > 0
    near = torch.nn.functional.max_pool2d(surface.near[None].float(), 3, 1, 1)[0] > 0  # a point is as wide as a pixel
    assert not (reached & ~near).any()


def test_a_cloud_has_no_more_points_than_it_may(cutouts: Cutouts, visible: VisiblePoints) -> None:
    fewer = VIEWS.model_copy(update={"most_points": len(visible.positions) // 2})
    some = visible_points(GreenBall(), cutouts.front, 64, 0.03, fewer, torch.Generator().manual_seed(0))
    assert len(some.positions) == len(visible.positions) // 2
    assert some.of_photo.sum() == visible.of_photo.sum()


def test_a_photo_that_shows_nothing_of_the_field_is_the_products_failure(cutouts: Cutouts) -> None:
    empty = replace(cutouts.front, picture=cutouts.front.picture * 0)
    with pytest.raises(ProductError, match="no surface where the photo shows"):
        visible_points(GreenBall(), empty, 64, 0.03, VIEWS, torch.Generator())


def test_at_first_the_photo_is_seen_and_then_everything_learns(cutouts: Cutouts, visible: VisiblePoints) -> None:
    cloud = PointCloud(visible.positions, visible.colours, 64)
    pictures, opacity = cloud(cutouts.cameras)
    photo = reference_view(cutouts.front.picture, 64)
    assert bool((pictures[opacity == 0] == 1).all())
    known = PhotoSurface.of(GreenBall(), cutouts.front, 64, 0.03).known[None, None]
    assert float(psnr(pictures.permute(0, 3, 1, 2).detach(), photo.picture[None], known)) > 25
    torch.nn.init.normal_(cloud.renderer.change.weight, generator=torch.Generator().manual_seed(0))
    cloud(Cameras.at(0.0, 0.0))[0].square().mean().backward()
    for name, parameter in cloud.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, name


def test_the_photo_is_learnt_and_the_other_sides_are_led(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    losses: list[dict[str, float]] = []
    made = refined(
        cutouts,
        text_to_image,
        lambda s, n, v: losses.append(v),
        steps=24,
        table_learning_rate=0.01,
        network_learning_rate=0.005,
    )
    of_photo = [step["reference_colour"] for step in losses if "reference_colour" in step]
    novel = [step for step in losses if "reference_colour" not in step]
    assert of_photo[-1] < 0.85 * of_photo[0]
    assert novel and all({"sds", "likeness", "point_colours"} == step.keys() for step in novel)
    assert made.points is not None
    picture, _ = made.points.seen_by(cutouts.cameras, 32)
    above, below = picture[0, 12, 16], picture[0, 20, 16]
    assert above[0] > above[2] + 0.3 and below[2] > below[0] + 0.3  # red above blue
    mesh = export_model(made, cutouts, ExportParameters(texture_size=64))
    assert len(mesh.faces) > 50  # of the outline: what a file can hold


def test_a_killed_stage_ends_as_an_undisturbed_one(
    cutouts: Cutouts, text_to_image: TextToImagePrior, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mpod_pipeline.method.optimisation.GOOD_AFTER", 2)
    checkpoint = Checkpoint(tmp_path / "mug.pt", "the same work", every_seconds=0)

    def kill(step: int, steps: int, losses: dict[str, float]) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refined(cutouts, text_to_image, kill, checkpoint, steps=6)
    kept = checkpoint.load()
    assert kept is not None and kept["step"] == 2
    resumed = refined(cutouts, text_to_image, checkpoint=checkpoint, steps=6)
    undisturbed = refined(cutouts, text_to_image, steps=6)
    assert resumed.points is not None and undisturbed.points is not None
    for name, tensor in undisturbed.points.state_dict().items():
        assert torch.equal(resumed.points.state_dict()[name], tensor), name


def test_the_points_come_back_from_disk_and_are_what_is_drawn(
    cutouts: Cutouts, text_to_image: TextToImagePrior, tmp_path: Path
) -> None:
    made = refined(cutouts, text_to_image, steps=2)
    made.stored().save(tmp_path / "mug.safetensors")
    loaded = PaintedSurface.load(tmp_path / "mug.safetensors")
    assert made.points is not None and loaded.points is not None
    mesh: TexturedMesh = export_model(made, cutouts, ExportParameters(texture_size=64))
    p = DrawingParameters(of="points", azimuths=3, resolution=48, surface_points=100)
    views = draw_views(cutouts, GreenBall(), mesh, loaded.points, p)
    pictures, opacity = made.points.seen_by(views.cameras, 48)
    torch.testing.assert_close(views.tensors()[0], pictures, atol=0.5 / 255 + 1e-6, rtol=0)
    torch.testing.assert_close(views.tensors()[1], opacity, atol=0.5 / 255 + 1e-6, rtol=0)
    with pytest.raises(SetupError, match=r"detail\.second_stage"):
        draw_views(cutouts, GreenBall(), mesh, None, p)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"mask_guidance": "mrca"}, "sds and likeness alone"),
        ({"inpainting": {"colour": 1.0}}, "sds and likeness alone"),
        ({"shading": {"lambertian": 0.5}}, "sds and likeness alone"),
        ({"resolution": 30}, "multiple of 4"),
    ],
)
def test_what_points_cannot_be_led_by_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        DetailParameters.model_validate({**QUICK.model_dump(), **changed})
