"""Stage 1: the photo's view is learnt, the same seed gives the same field, and disaster is said."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.evaluation import draw_field
from mpod_pipeline.method.guidance.novel_view import NovelViewSds
from mpod_pipeline.method.outline import (
    OutlineParameters,
    OutlineWeights,
    Views,
    novel_cameras,
    optimize_outline,
    render,
    smoothness_losses,
)
from mpod_pipeline.method.view_schedule import ViewParameters, drawn_views
from mpod_pipeline.priors import NovelViewPrior
from mpod_pipeline.priors.architecture import make_scheduler
from mpod_pipeline.priors.latents import resize
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import make_volume_renderer
from tests.method.conftest import SMALL_FIELD
from tests.method.quick import QUICK_OUTLINE


def test_the_photos_view_is_learnt(cutout: NDArray[np.uint8], cutouts: Cutouts, novel_view: NovelViewPrior) -> None:
    losses: list[dict[str, float]] = []
    field = optimize_outline(cutouts, novel_view, QUICK_OUTLINE, 0, lambda s, n, values: losses.append(values)).field
    assert len(losses) == 40
    assert losses[-1]["reference_colour"] < 0.15 * losses[0]["reference_colour"]
    picture, opacity = draw_field(field, Cameras.at(0.0, 0.0), 24)
    target = reference_view(cutout, 24)
    assert (picture[0].permute(2, 0, 1) - target.picture).square().mean() < 0.02
    seen, wanted = opacity[0] > 0.5, target.mask > 0.5
    assert (seen & wanted).sum() / (seen | wanted).sum() > 0.8


class TwoSides(torch.nn.Module):
    """Stands in for Zero-1-to-3: a ball, red as seen from azimuths 0 to 180 degrees, blue from the others. Its latents
    are the pictures themselves.
    """

    image_size = 24
    device = torch.device("cpu")

    def __init__(self) -> None:
        super().__init__()
        self.schedule = NoiseSchedule.of(make_scheduler())

    def encode_photo(self, photo: Tensor, elevation_deg: float) -> None:
        return None

    def pose(self, condition: None, azimuth_deg: Tensor, elevation_deg: Tensor) -> Tensor:
        return azimuth_deg % 360

    def encode(self, pictures: Tensor) -> Tensor:
        return resize(pictures, self.image_size)

    def predict(self, noisy: Tensor, timesteps: Tensor, condition: None, pose: Tensor, guidance_scale: float) -> Tensor:
        y, x = torch.meshgrid(torch.arange(24) - 11.5, torch.arange(24) - 11.5, indexing="ij")
        ball = (x.square() + y.square() < 7**2)[None, None]
        colour = torch.where((pose < 180)[:, None], torch.tensor([0.9, 0, 0]), torch.tensor([0, 0, 0.9]))
        clean = torch.where(ball, colour[:, :, None, None], torch.ones(()))
        alpha, sigma = self.schedule.alpha(timesteps, noisy), self.schedule.sigma(timesteps, noisy)
        return (alpha * noisy - clean) / sigma  # the v that means this clean picture


def test_the_prior_shapes_what_the_photo_does_not_show(cutouts: Cutouts) -> None:
    """Score distillation alone, from views on both sides: each gets its own colours and the ball's outline."""
    p = QUICK_OUTLINE.model_copy(
        update={
            "steps": 80,
            "resolutions": (24,),
            "reference_probability": 0.0,
            "elevation_deg": (0.0, 0.0),
            "sds": NovelViewSds(guidance_scale=1.0, weight=80.0),
        }
    )
    field = optimize_outline(cutouts, TwoSides(), p, 0, lambda *_: None).field  # type: ignore[arg-type]
    pictures, opacity = draw_field(field, Cameras.at([90.0, 270.0], 0.0), 24)
    right, left = (picture[10:14, 10:14].mean(dim=(0, 1)) for picture in pictures)
    assert right[0] > right[2] + 0.3
    assert left[2] > left[0] + 0.3
    assert opacity[:, 10:14, 10:14].mean() > 0.8 and opacity[:, :3].mean() < 0.2


def test_the_same_seed_gives_the_same_field(cutouts: Cutouts, novel_view: NovelViewPrior) -> None:
    p = QUICK_OUTLINE.model_copy(update={"steps": 4})
    one, other, third = (optimize_outline(cutouts, novel_view, p, seed, lambda *_: None).field for seed in (3, 3, 4))
    assert torch.equal(one.encoding.table, other.encoding.table)
    assert not torch.equal(one.encoding.table, third.encoding.table)


def test_a_second_thread_changes_the_last_digits_alone(cutouts: Cutouts, novel_view: NovelViewPrior) -> None:
    p = QUICK_OUTLINE.model_copy(update={"steps": 4})
    tables, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 2):
            torch.set_num_threads(threads)
            tables.append(optimize_outline(cutouts, novel_view, p, 3, lambda *_: None).field.encoding.table.detach())
    finally:
        torch.set_num_threads(before)
    one, two, again = tables
    assert torch.equal(two, again)
    start = OutlineField(p.field, seed=3).encoding.table
    assert (two - one).norm() < 0.01 * (one - start).norm()


def test_a_loss_that_is_no_number_is_the_products_failure(
    cutouts: Cutouts, novel_view: NovelViewPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(novel_view, "predict", lambda noisy, *_: noisy * float("nan"))
    with pytest.raises(ProductError, match="step 1"):
        optimize_outline(cutouts, novel_view, QUICK_OUTLINE, 0, lambda *_: None)


def test_colours_choose_depths_only_where_told() -> None:
    """The pictures are the same; the density's gradient is that of more or less of a ray's mean colour before white."""
    field = OutlineField(SMALL_FIELD)
    with torch.no_grad():
        field.encoding.table.normal_(generator=torch.Generator().manual_seed(2))
    field.occupancy.update(0, field.density, generator=torch.Generator().manual_seed(0))

    def see(colours_choose_depths: bool) -> Views:
        p = QUICK_OUTLINE.model_copy(update={"colours_choose_depths": colours_choose_depths})
        generator = torch.Generator().manual_seed(1)
        return render(field, Cameras.at(0.0, 0.0), 16, make_volume_renderer(), p, generator)

    def gradient(pictures: Tensor) -> Tensor:
        (found,) = torch.autograd.grad(pictures.square().sum(), field.network["density"].hidden)
        return found[:, :-1]  # by the features: the constant input's share would drown it

    silhouette, free = see(False), see(True)
    torch.testing.assert_close(silhouette.pictures, free.pictures)
    opacity = free.opacity[..., None]
    mean = ((free.pictures - 1 + opacity) / opacity.clamp_min(1e-3)).detach()
    expected = gradient(1 - opacity + opacity * mean)
    scale = float(expected.abs().max())
    torch.testing.assert_close(gradient(silhouette.pictures), expected, rtol=0, atol=1e-4 * scale)
    assert (gradient(see(True).pictures) - expected).abs().max() > 50 * 1e-4 * scale


def test_smoothness_is_weighted() -> None:
    field, surface = OutlineField(SMALL_FIELD), torch.rand(50, 3, generator=torch.Generator().manual_seed(0))
    one, other = (
        smoothness_losses(field, surface, weights, torch.Generator().manual_seed(1))
        for weights in (
            OutlineWeights(normal_smoothness=1.0, colour_smoothness=1.0),
            OutlineWeights(normal_smoothness=2.0, colour_smoothness=4.0),
        )
    )
    assert float(one["normal_smoothness"]) > 0 and float(one["colour_smoothness"]) > 0
    torch.testing.assert_close(other["normal_smoothness"], 2 * one["normal_smoothness"])
    torch.testing.assert_close(other["colour_smoothness"], 4 * one["colour_smoothness"])


def test_nothing_seen_has_no_smoothness() -> None:
    assert smoothness_losses(OutlineField(SMALL_FIELD), torch.zeros(0, 3), OutlineWeights(), torch.Generator()) == {}


def test_novel_views_lie_all_round_within_the_elevations() -> None:
    generator = torch.Generator().manual_seed(0)
    p = OutlineParameters(novel_views=2, elevation_deg=(-10.0, 40.0))
    cameras = [novel_cameras(p, generator) for _ in range(100)]
    azimuth = torch.cat([c.azimuth_deg for c in cameras]) % 360
    elevation = torch.cat([c.elevation_deg for c in cameras])
    assert torch.histc(azimuth, 8, 0, 360).min() > 10
    assert elevation.min() >= -10 and elevation.max() <= 40


def test_the_papers_draw_of_views_is_one_in_four() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [drawn_views(ViewParameters(reference_probability=0.25), 0, 1, generator) for _ in range(2000)]
    assert all(photo != prior for photo, prior in drawn)
    # The standard deviation of the share is 0.01.
    assert np.mean([photo for photo, _ in drawn]) == pytest.approx(0.25, abs=0.04)
    assert drawn_views(ViewParameters(), 0, 1, generator) == (True, True)
