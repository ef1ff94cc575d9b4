"""Zero-1-to-3's traps, one test each."""

from __future__ import annotations

from math import cos, radians, sin

import pytest
import torch

from mpod_pipeline.priors import NovelViewPrior
from mpod_pipeline.priors.novel_view import relative_pose


def test_the_pose_vector() -> None:
    pose = relative_pose(10.0, torch.tensor([90.0, -30.0]), torch.tensor([40.0, 10.0]))
    # A camera that rises by 30 degrees has a polar angle smaller by 30.
    expected = [[-radians(30), 1.0, 0.0, 0.0], [0.0, sin(radians(-30)), cos(radians(-30)), 0.0]]
    torch.testing.assert_close(pose, torch.tensor(expected), atol=1e-6, rtol=1e-6)


def test_stable_zero123_says_the_photos_polar_angle() -> None:
    pose = relative_pose(10.0, torch.tensor([0.0]), torch.tensor([10.0]), absolute=True)
    assert float(pose[0, 3]) == pytest.approx(radians(80))


def test_the_condition_is_the_unscaled_mode(novel_view: NovelViewPrior) -> None:
    photo = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    mode = novel_view.vae.encode(photo[None] * 2 - 1).latent_dist.mode()  # pictures go in as [-1, 1]
    torch.testing.assert_close(novel_view.encode_photo(photo, 0.0).latents, mode)
    assert novel_view.vae.config.scaling_factor != 1


def test_noisy_latents_are_scaled(novel_view: NovelViewPrior) -> None:
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    mode = novel_view.vae.encode(picture * 2 - 1).latent_dist.mode()
    torch.testing.assert_close(novel_view.encode(picture), mode * novel_view.vae.config.scaling_factor)


def test_guidance_zeroes_all_conditions_after_the_projection(
    novel_view: NovelViewPrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {}

    def unet(
        x: torch.Tensor, t: torch.Tensor, encoder_hidden_states: torch.Tensor, class_labels: torch.Tensor
    ) -> object:
        seen["latents"], seen["context"], seen["pose"] = x[:, 4:], encoder_hidden_states, class_labels
        return type("Output", (), {"sample": x[:, :4]})

    monkeypatch.setattr(novel_view.unet, "forward", unet)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)  # for the whole batch to come at once
    condition = novel_view.encode_photo(torch.rand(3, 32, 32), 0.0)
    pose = novel_view.pose(condition, torch.tensor([30.0, 60.0]), torch.tensor([0.0, 20.0]))
    novel_view.predict(torch.zeros(2, 4, 8, 8), torch.tensor([10, 20]), condition, pose, 3.0)
    for name in ("latents", "context", "pose"):
        assert (seen[name][2:] == 0).all(), name
    torch.testing.assert_close(seen["pose"][:2], pose)
    torch.testing.assert_close(seen["latents"][:2], condition.latents.expand(2, -1, -1, -1))
    torch.testing.assert_close(seen["context"][:2], novel_view.context(condition, pose))
    assert seen["context"].shape == (4, 16, 32)  # 4 x 4 patches, read from the folder's config


def test_the_pose_is_joined_to_the_timestep_where_the_folder_says_so(novel_view: NovelViewPrior) -> None:
    condition = novel_view.encode_photo(torch.rand(3, 32, 32), 0.0)
    poses = novel_view.pose(condition, torch.tensor([0.0, 90.0]), torch.tensor([0.0, 0.0]))
    same_tokens = novel_view.context(condition, poses[:1]).expand(2, -1, -1)
    latents = condition.latents.expand(2, -1, -1, -1)
    answers = novel_view._unet(torch.zeros(2, 4, 8, 8), torch.tensor([500, 500]), latents, same_tokens, poses)
    assert (answers[0] - answers[1]).abs().max() > 1e-3


def test_guidance_is_extrapolation(novel_view: NovelViewPrior) -> None:
    condition = novel_view.encode_photo(torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0)), 0.0)
    pose = novel_view.pose(condition, torch.tensor([30.0]), torch.tensor([0.0]))
    noisy, t = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1)), torch.tensor([500])
    one, zero, three = (novel_view.predict(noisy, t, condition, pose, g) for g in (1.0, 0.0, 3.0))
    torch.testing.assert_close(three, zero + 3 * (one - zero), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("views", [1, 2, 3, 5])
def test_the_answer_does_not_depend_on_the_threads_that_work_on_it(novel_view: NovelViewPrior, views: int) -> None:
    generator = torch.Generator().manual_seed(0)
    condition = novel_view.encode_photo(torch.rand(3, 32, 32, generator=generator), 0.0)
    pose = novel_view.pose(condition, torch.linspace(0, 180, views), torch.zeros(views))
    noisy, t = torch.randn(views, 4, 8, 8, generator=generator), torch.arange(views) * 100 + 100
    answers, before = [], torch.get_num_threads()
    for threads in (1, 3):
        torch.set_num_threads(threads)
        answers.append(novel_view.predict(noisy, t, condition, pose, 2.5))
    torch.set_num_threads(before)
    torch.testing.assert_close(*answers, atol=1e-5, rtol=1e-4)


def test_samples_are_pictures_and_the_same_for_the_same_seed(novel_view: NovelViewPrior) -> None:
    photo = torch.rand(3, 48, 48, generator=torch.Generator().manual_seed(0))
    azimuth, elevation = torch.tensor([0.0, 120.0]), torch.tensor([0.0, 20.0])
    first = novel_view.sample(photo, azimuth, elevation, steps=3, seed=1)
    assert first.shape == (2, 3, 32, 32)
    assert first.min() >= 0 and first.max() <= 1
    torch.testing.assert_close(first, novel_view.sample(photo, azimuth, elevation, steps=3, seed=1))
    assert (first - novel_view.sample(photo, azimuth, elevation, steps=3, seed=2)).abs().max() > 1e-3
