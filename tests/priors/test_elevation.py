"""The camera's height: told from a cutout, better than by always saying the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpod_pipeline.cutout.matting import frame
from mpod_pipeline.priors.elevation import SIZE, ElevationNetwork, expected, load_elevation_network, network_input
from mpod_pipeline.priors.train_elevation import ElevationTraining, train_elevation, varied
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.views import scene_of, split_members


def test_the_shipped_network_tells_heights_of_products_it_never_saw() -> None:
    """Twenty test products from 0, 20 and 40 degrees: who always says 20 is wrong by 13 on the mean."""
    network = load_elevation_network()
    told: list[list[float]] = []
    for family, seed in split_members("test", 20):
        scene, _ = scene_of(family, seed)
        pictures = scene.photograph(Cameras.at(0.0, [0.0, 20.0, 40.0]), 160)
        told.append([network.estimate(frame(picture, size=256, share=0.8)) for picture in pictures])
    error = np.abs(np.array(told) - [0.0, 20.0, 40.0])
    assert error.mean() < 9
    rising = np.diff(np.array(told), axis=1) > 0
    assert rising.mean() > 0.85


def test_it_learns_what_it_is_shown() -> None:
    """Bars whose height goes with the elevation."""
    generator = np.random.default_rng(0)
    elevations = generator.uniform(-10, 60, 200).astype(np.float32)
    cutouts = np.zeros((200, SIZE, SIZE, 4), np.uint8)
    for cutout, elevation in zip(cutouts, elevations, strict=True):
        rows = round(8 + (elevation + 10) / 70 * 44)
        cutout[(SIZE - rows) // 2 : (SIZE + rows) // 2, 6:58] = 200, 100, 50, 255
    pictures, truth = network_input(cutouts), torch.from_numpy(elevations)
    losses: list[float] = []
    p = ElevationTraining(epochs=8, batch_size=20)
    network = train_elevation(pictures, truth, p, lambda s, n, values: losses.append(values["loss"]))
    assert len(losses) == 80
    with torch.no_grad():
        assert (network(pictures) - truth).abs().mean() < 8  # always the mean: 17


def test_variations_keep_what_says_the_height() -> None:
    cutouts = torch.zeros(30, 4, SIZE, SIZE)
    cutouts[:, :, 20:44, 10:54] = 0.5
    cutouts[:, 3, 20:44, 10:54] = 1
    seen = varied(cutouts, torch.Generator().manual_seed(0))
    heights = (seen[:, 3] > 0.5).any(dim=2).sum(dim=1)
    assert heights.min() >= 21 and heights.max() <= 27
    assert not torch.allclose(seen[0, :3], seen[1, :3])


@pytest.mark.parametrize("fill", [0, 255])
def test_it_never_says_more_than_it_has_seen(fill: int) -> None:
    network = ElevationNetwork().eval()
    assert -10 <= network.estimate(np.full((SIZE, SIZE, 4), fill, np.uint8)) <= 60


def test_an_answer_far_from_the_usual_is_believed_and_a_near_one_less() -> None:
    assert expected(10.0) == pytest.approx(10.0)
    assert 10 < expected(18.0) < 16 and 4 < expected(2.0) < 10
    assert expected(50.0) > 48
    answers = np.arange(-10, 60)
    assert (np.diff([expected(float(answer)) for answer in answers]) > 0).all()
