"""The camera's height: told from a cutout, better than by always saying the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpod_pipeline.cutout.matting import frame
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.priors.elevation import (
    ANSWERS,
    CENTRES,
    HIGHEST,
    LOWEST,
    SIZE,
    ElevationNetwork,
    believed,
    load_elevation_network,
    median,
)
from mpod_pipeline.priors.train_elevation import ElevationTraining, nearly, train_elevation, varied
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
    assert error.mean() < 5
    rising = np.diff(np.array(told), axis=1) > 0
    assert rising.mean() > 0.85


def test_it_learns_what_it_is_shown() -> None:
    """Bars whose height goes with the elevation."""
    generator = np.random.default_rng(0)
    elevations = generator.uniform(-10, 60, 200).astype(np.float32)
    cutouts = np.zeros((200, SIZE, SIZE, 4), np.uint8)
    for cutout, elevation in zip(cutouts, elevations, strict=True):
        rows = round(SIZE * (0.12 + (elevation + 10) / 70 * 0.7))
        cutout[(SIZE - rows) // 2 : (SIZE + rows) // 2, SIZE // 10 : -SIZE // 10] = 200, 100, 50, 255
    losses: list[float] = []
    p = ElevationTraining(epochs=4, batch_size=20)
    backbone = load_efficientnet_lite0().network
    network = train_elevation(
        backbone, cutouts, torch.from_numpy(elevations), p, lambda s, n, values: losses.append(values["loss"])
    )
    assert len(losses) == 40
    assert np.abs(network.estimates(cutouts).numpy() - elevations).mean() < 8  # always the mean: 17


def test_variations_keep_what_says_the_height() -> None:
    cutouts = torch.zeros(30, 4, SIZE, SIZE)
    cutouts[:, :, 30:66, 15:81] = 0.5
    cutouts[:, 3, 30:66, 15:81] = 1
    seen = varied(cutouts, torch.Generator().manual_seed(0))
    heights = (seen[:, 3] > 0.5).any(dim=2).sum(dim=1)
    assert heights.min() >= 33 and heights.max() <= 39
    assert not torch.allclose(seen[0, :3], seen[1, :3])


@pytest.mark.parametrize("fill", [0, 255])
def test_it_never_says_more_than_it_has_seen(fill: int) -> None:
    network = ElevationNetwork().eval()
    assert -10 <= network.estimate(np.full((SIZE, SIZE, 4), fill, np.uint8)) <= 60


def test_the_median_is_where_half_lies_below() -> None:
    one = torch.zeros(2, ANSWERS)
    one[0, 4] = 1  # evenly within one answer: its middle
    one[1, 0] = one[1, -1] = 0.5
    told = median(one)
    assert told[0] == pytest.approx(float(CENTRES[4]))
    assert told[1] == pytest.approx(LOWEST + (HIGHEST - LOWEST) / ANSWERS)
    assert median(torch.full((1, ANSWERS), 1 / ANSWERS)) == pytest.approx((LOWEST + HIGHEST) / 2)


def test_a_network_that_does_not_know_says_the_usual_and_one_that_is_sure_is_believed() -> None:
    unknown = torch.full((1, ANSWERS), 1 / ANSWERS)
    assert 9 < float(median(believed(unknown))) < 14
    sure = nearly(torch.tensor([-5.0, 18.0, 50.0]))
    assert (median(believed(sure)) - torch.tensor([-5.0, 18.0, 50.0])).abs().max() < 1.5
