"""Each part by itself: what it is 0 for, and that its gradient goes where it shall."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.guidance import regularisers
from mpod_pipeline.method.guidance.likeness import Likeness, LikenessParameters, load_likeness_encoders
from mpod_pipeline.method.guidance.novel_view import KNOWN, NovelViewGuidance, NovelViewSds, angle_factor, doubt
from mpod_pipeline.method.guidance.photo_depth import PhotoDepth
from mpod_pipeline.method.guidance.shading import ShadingParameters, shown
from mpod_pipeline.method.guidance.text import PromptParameters, TextGuidance, TextSds
from mpod_pipeline.method.outline import (
    FurtherModels,
    OutlineParameters,
    novel_cameras,
    optimize_outline,
    render,
    surface_normals,
)
from mpod_pipeline.method.view_schedule import ViewParameters, drawn_views
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior
from mpod_pipeline.priors.depth import DepthNetwork
from mpod_pipeline.priors.sds import sds_loss
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import make_volume_renderer
from tests.method.conftest import SMALL_FIELD

FRONT = Cameras.at(0.0, 10.0)
HARD = SMALL_FIELD.model_copy(update={"blob_scale": 60.0})


def seed() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_a_view_counts_as_it_is_turned_from_the_photo() -> None:
    cameras = Cameras.at([0.0, 90.0, 180.0, -180.0], [10.0, 0.0, -10.0, -10.0])
    torch.testing.assert_close(angle_factor(cameras, FRONT), torch.tensor([0.0, 0.5, 1.0, 1.0]), atol=1e-3, rtol=0)


def test_a_factor_is_on_each_pictures_own_gradient(novel_view: NovelViewPrior) -> None:
    latents = torch.randn(2, 4, 8, 8, generator=seed(), requires_grad=True)
    plain, weighted = (
        torch.autograd.grad(
            sds_loss(latents, lambda x, t: x, novel_view.schedule, torch.tensor([300, 600]), seed(), factor=factor),
            latents,
        )[0]
        for factor in (None, torch.tensor([0.0, 0.5]))
    )
    assert not weighted[0].any() and torch.equal(weighted[1], plain[1] / 2)


class Foreteller:
    """Stands in for Zero-1-to-3: from everywhere it sees the same picture."""

    image_size = 64

    def __init__(self, picture: Tensor) -> None:
        self.picture = picture

    def sample(self, photo: Tensor, azimuth_deg: Tensor, elevation_deg: Tensor, **_: object) -> Tensor:
        return self.picture.expand(len(azimuth_deg), -1, -1, -1)


def test_the_less_a_prior_foretells_of_further_photos_the_less_it_is_heard(cutouts: Cutouts) -> None:
    photos = Cutouts(
        (cutouts.front, *(replace(cutouts.front, azimuth_deg=turn, name=str(turn)) for turn in (90.0, 180.0)))
    )
    true = reference_view(cutouts.front.picture, 64)
    white = torch.ones_like(true.picture)

    def of(picture: Tensor, seen: Cutouts) -> float:
        return doubt(Foreteller(picture), seen)  # type: ignore[arg-type]

    assert of(white, Cutouts((cutouts.front,))) == 1
    assert of(true.picture, photos.without(frozenset({"90.0"}))) == 8  # a back says nothing of depth
    assert of(true.picture, photos) == 3
    assert of(white, photos) == 27
    off = 0.14  # its edges are in pixels that show little of it, and less wrong
    assert 0.6 < of(true.picture + off * true.mask, photos) / (3 * (off**2 / KNOWN) ** 3) < 1


def test_from_the_photos_own_place_nothing_is_guided(cutouts: Cutouts, novel_view: NovelViewPrior) -> None:
    guidance = NovelViewGuidance.of(novel_view, cutouts)
    pictures = torch.rand(1, 32, 32, 3, generator=seed())
    p = NovelViewSds(guidance_scale=1.0, angle_weighted=True)
    front, back = (guidance.loss(pictures, Cameras.at(azimuth, 0.0), p, 0.5, seed()) for azimuth in (0.0, 180.0))
    assert float(front) < 1e-4 < float(back)


def test_a_prior_is_asked_about_the_front_or_about_the_nearest_photo(
    cutouts: Cutouts, novel_view: NovelViewPrior
) -> None:
    """From behind, views are the front's own or the back's own: there, that photo says nothing more."""
    photos = Cutouts((cutouts.front, replace(cutouts.front, azimuth_deg=180.0, name="back")))
    guidance = NovelViewGuidance.of(novel_view, photos)
    pictures = torch.rand(1, 32, 32, 3, generator=seed())
    behind = Cameras.at(180.0, 0.0)
    front, nearest = (
        guidance.loss(
            pictures, behind, NovelViewSds(guidance_scale=1.0, angle_weighted=True, asked_about=about), 0.5, seed()
        )
        for about in ("front", "nearest")
    )
    assert float(nearest) < 1e-4 < float(front)


def test_words_between_sides_are_between_them(text_to_image: TextToImagePrior) -> None:
    token = text_to_image.word_embedding("a")
    guidance = TextGuidance.of(text_to_image, token, PromptParameters(directions="interpolated"))
    at = {azimuth: guidance.prompts_of(Cameras.at(azimuth, 0.0))[0] for azimuth in (0.0, 45.0, -45.0, 90.0, 180.0)}
    assert torch.equal(at[0.0].context, guidance.prompts["front view"].context)
    torch.testing.assert_close(at[90.0].context, guidance.prompts["side view"].context)
    torch.testing.assert_close(at[180.0].context, guidance.prompts["back view"].context)
    middle = (at[0.0].context + at[90.0].context) / 2
    torch.testing.assert_close(at[45.0].context, middle)
    assert torch.equal(at[45.0].context, at[-45.0].context)
    assert torch.equal(at[45.0].token_columns, at[0.0].token_columns)


def test_the_likeness_of_an_estimate_moves_the_picture(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    """The release of Make-It-3D has no gradient there."""
    p = LikenessParameters(size=64, below=1.0)
    likeness = Likeness.of(load_likeness_encoders(p, "cpu"), cutouts, p)
    guidance = TextGuidance.of(text_to_image, text_to_image.word_embedding("a"), PromptParameters())
    pictures = torch.rand(1, 32, 32, 3, generator=seed()).requires_grad_()
    predict = guidance.predictor(FRONT, 5.0)
    sds = TextSds(guidance_scale=5.0, start=(0.2, 0.3), end=(0.2, 0.3))
    guidance.loss(pictures, predict, sds, 0.0, seed(), likeness).backward()
    assert pictures.grad is not None and float(pictures.grad.abs().max()) > 0
    photo = reference_view(cutouts.front.picture, 128).picture.permute(1, 2, 0)[None]
    assert float(likeness.of_views(photo)) < 1e-3 < float(likeness.of_views(1 - photo))


def test_regularisers_are_nothing_for_what_is_as_it_shall_be() -> None:
    plane = torch.zeros(1, 16, 16, 3)
    plane[..., 0] = 1.0  # towards the camera in front
    assert float(regularisers.blur_change(plane)) < 1e-12 and float(regularisers.variation(plane)) == 0
    assert float(regularisers.orientation(plane, FRONT)) == 0 < float(regularisers.orientation(-plane, FRONT))
    rough = torch.nn.functional.normalize(torch.randn(1, 16, 16, 3, generator=seed()), dim=-1)
    assert float(regularisers.blur_change(rough)) > 0.1 and float(regularisers.variation(rough)) > 0.1
    certain, unsure = torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[0.5, 0.5]]])
    assert float(regularisers.entropy(certain)) < 1e-3 and float(regularisers.entropy(unsure)) == pytest.approx(1.0)


def test_depths_agree_at_any_scale_and_shift_and_not_upside_down() -> None:
    depth, where = torch.rand(8, 8, generator=seed()), torch.ones(8, 8, dtype=torch.bool)
    same, turned = (regularisers.depth_disagreement(depth, factor * depth + 3, where) for factor in (5.0, -5.0))
    assert same is not None and turned is not None
    assert float(same) == pytest.approx(0, abs=1e-5) and float(turned) == pytest.approx(2, abs=1e-5)
    assert regularisers.depth_disagreement(depth, torch.ones(8, 8), where) is None
    assert regularisers.depth_disagreement(depth, depth, torch.zeros_like(where)) is None


@pytest.mark.parametrize("loss", ["depth", "normal_blur", "shading"])
def test_depths_normals_and_light_move_density(loss: str, cutouts: Cutouts, novel_view: NovelViewPrior) -> None:
    """By a way of their own, where colours do not choose depths."""
    field = OutlineField(HARD, seed=0)
    field.occupancy.update(0, field.density, generator=seed())
    seen = render(field, FRONT, 32, make_volume_renderer(field.backend), OutlineParameters(), seed())
    if loss == "depth":
        assert isinstance(novel_view.depth, DepthNetwork)
        value = PhotoDepth.of(novel_view.depth, cutouts.front).disagreement(seen.depth[0], seen.opacity[0])
        assert value is not None
        value.backward()
    elif loss == "normal_blur":
        regularisers.blur_change(surface_normals(field, seen)).backward()
    else:
        p = ShadingParameters(textureless=1.0, ambient=(0.1, 0.1))
        normals = surface_normals(field, seen)
        shown(seen.pictures.detach(), seen.opacity.detach(), normals, FRONT, p, 0.5, seed()).mean().backward()
    density: torch.Tensor = field.network["density"].hidden  # type: ignore[assignment]
    assert density.grad is not None and float(density.grad.abs().max()) > 0


def test_a_view_is_shown_as_it_is_told() -> None:
    pictures = torch.full((1, 4, 4, 3), 0.2)
    opacity = torch.ones(1, 4, 4)
    normals = torch.zeros(1, 4, 4, 3)
    normals[..., 0] = 1.0

    def show(progress: float, **shares: object) -> torch.Tensor:
        p = ShadingParameters.model_validate(shares)
        return shown(pictures, opacity, normals, Cameras.at(0.0, 0.0), p, progress, seed())

    assert torch.equal(show(0.5), pictures)
    assert torch.equal(show(0.1, lambertian=1.0, colours_first=0.2), pictures)
    torch.testing.assert_close(show(0.1, normals_first=0.2)[0, 0, 0], torch.tensor([0.5, 0.5, 1.0]))
    torch.testing.assert_close(show(0.5, lambertian=1.0, ambient=[1.0, 1.0]), pictures)
    torch.testing.assert_close(show(0.5, textureless=1.0, ambient=[1.0, 1.0]), torch.ones_like(pictures))
    assert (show(0.5, lambertian=1.0) < pictures).all()
    with pytest.raises(ValidationError, match="together at most 1"):
        ShadingParameters(lambertian=0.6, textureless=0.6)


def test_the_photo_alone_at_first_then_every_so_many_steps() -> None:
    p = ViewParameters(photo_first=0.02, photo_every=4)
    looks = [drawn_views(p, step, 1000, seed()) for step in range(1000)]
    assert all(look == (True, False) for look in looks[:20])
    assert sum(photo for photo, _ in looks[20:]) == 245 and all(photo != novel for photo, novel in looks)
    assert p.novel_share == pytest.approx(sum(novel for _, novel in looks) / 1000)
    with pytest.raises(ValidationError, match="two rules for one thing"):
        ViewParameters(photo_every=4, reference_probability=0.5)


def test_novel_views_are_near_at_first_and_even_over_the_sphere() -> None:
    p = OutlineParameters(novel_views=200, near_first=0.4, elevation_deg=(0.0, 90.0))
    near = novel_cameras(p, seed(), 0.1).azimuth_deg
    assert float(near.abs().max()) <= 45.0 and float(near.std()) > 20
    assert float(novel_cameras(p, seed(), 0.5).azimuth_deg.std()) > 80
    even = novel_cameras(p.model_copy(update={"sphere_share": 1.0}), seed()).elevation_deg
    assert float((even < 30).float().mean()) == pytest.approx(0.5, abs=0.1)  # half of a half sphere is below 30°


def test_levels_that_are_not_in_use_might_as_well_be_nothing() -> None:
    field, coarse = OutlineField(SMALL_FIELD, seed=0), OutlineField(SMALL_FIELD, seed=0)
    points = torch.rand(50, 3, generator=seed()) * 2 - 1
    with torch.no_grad():
        for each in (field, coarse):
            each.encoding.table.normal_(0, 1, generator=seed())
    before = field.density(points)
    field.use_levels(2)
    fewer = field.density(points)
    assert not torch.equal(fewer, before)
    encoded = coarse.encoding((points / coarse.settings.bound + 1) / 2)
    encoded[:, 2 * SMALL_FIELD.hash_grid.features_per_level :] = 0
    coarse.encoding.forward = lambda _: encoded  # type: ignore[method-assign]
    torch.testing.assert_close(fewer, coarse.density(points))
    field.use_levels(None)
    assert torch.equal(field.density(points), before)


@pytest.mark.parametrize("activation", ["softplus", "exp"])
def test_a_field_starts_as_a_ball_of_either_kind(activation: str) -> None:
    update = {"activation": activation, "blob": "gaussian", "blob_radius": 0.2, "blob_scale": 10.0}
    field = OutlineField(SMALL_FIELD.model_copy(update=update), seed=0)
    inside, outside = field.density(torch.tensor([[0.0, 0.0, 0.0], [0.9, 0.0, 0.0]])).tolist()
    assert inside > 9 > 2 > outside > 0


def test_stage_1_goes_with_words_alone(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    """As RealFusion: Zero-1-to-3 is not there."""
    p = OutlineParameters.model_validate(
        {
            "steps": 4,
            "field": SMALL_FIELD.model_dump(),
            "resolutions": (16,),
            "cavities": None,
            "sds": {"weight": 0.0},
            "text": {"guidance_scale": 5.0, "after": 0.5},
            "coarse_levels": 3,
            "coarse_first": 0.5,
            "regularisers": {"entropy": 0.01, "orientation": 0.1, "normal_blur": 1.0, "opacity": 0.1},
            "shading": {"lambertian": 0.5, "textureless": 0.5},
        }
    )
    losses: list[dict[str, float]] = []
    models = FurtherModels(text_to_image, text_to_image.word_embedding("a"))
    made = optimize_outline(cutouts, None, p, 0, lambda s, n, v: losses.append(v), further_models=models)
    assert "text_sds" not in losses[0] and losses[3]["text_sds"] > 0 and "sds" not in losses[3]
    assert {"entropy", "orientation", "normal_blur", "opacity"} <= set(losses[0])
    assert made.field._in_use is None
