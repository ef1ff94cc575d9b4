"""The depth network: what it is given and gives, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mpod_pipeline.priors import load_novel_view_prior
from mpod_pipeline.priors.depth import DepthNetwork, make_depth_unet
from mpod_pipeline.priors.train_depth import DepthPictures, blemished, depth_loss, to_tensor, train_depth
from mpod_pipeline.priors.training import TrainingParameters
from tests.priors.tiny import save_tiny_novel_view


def shades(count: int) -> DepthPictures:
    """Squares on white, the darker the further."""
    rng = np.random.default_rng(0)
    far = rng.uniform(2.2, 2.8, count)
    pictures = np.full((count, 16, 16, 3), 255, np.uint8)
    depth = np.zeros((count, 16, 16), np.float16)
    pictures[:, 4:12, 4:12] = (230 - (far - 2.2) / 0.6 * 200)[:, None, None, None]
    depth[:, 4:12, 4:12] = far[:, None, None]
    return DepthPictures(pictures, depth, rng.uniform(0, 60, count).astype(np.float32))


@torch.no_grad()
def mean_error(network: DepthNetwork, data: DepthPictures) -> float:
    """The mean absolute error of depths where the product is, world units."""
    depth, _ = network(to_tensor(data.pictures), torch.from_numpy(data.elevation_deg))
    target = torch.from_numpy(data.depth.astype(np.float32))
    there = target > 0
    return float((((depth - target).abs() * there).sum((1, 2)) / there.sum((1, 2))).mean())


def test_it_learns_what_is_far(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DepthNetwork(make_depth_unet(16, (32, 32)))
    data = shades(64)
    before = mean_error(network.eval(), data)
    p = TrainingParameters(steps=60, batch_size=16, learning_rate=0.01, warmup_steps=5, decay_steps=30, ema_decay=0.9)
    train_depth(network, data, p, tmp_path / "depth.pt", lambda *_: None, "cpu")
    after = mean_error(network, data)
    assert after < 0.5 * before and after < 0.1
    with torch.no_grad():
        _, there = network(to_tensor(data.pictures), torch.from_numpy(data.elevation_deg))
    assert ((there > 0) == torch.from_numpy(data.depth > 0)).float().mean() > 0.95


def test_the_loss_of_a_constant_error() -> None:
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 2.5
    sure = torch.where(target > 0, 50.0, -50.0)
    assert float(depth_loss(target, sure, target)) == pytest.approx(0.0, abs=1e-6)
    # Differences between neighbours are right; beside the product nothing counts.
    assert float(depth_loss(target + 0.1, sure, target)) == pytest.approx(0.1, abs=1e-5)


def test_blemishes_leave_paper_white_and_shapes_where_they_are() -> None:
    pictures = to_tensor(shades(8).pictures)
    made = blemished(pictures, np.random.default_rng(0))
    assert made.shape == pictures.shape and float(made.min()) >= 0 and float(made.max()) <= 1
    assert float((made[..., 0, :] - 1).abs().mean()) < 0.05
    assert float((made - pictures).abs().mean()) < 0.2
    assert not torch.allclose(made, pictures, atol=0.02)


def test_a_prior_may_lack_it(tmp_path: Path) -> None:
    folder = save_tiny_novel_view(tmp_path / "novel_view")
    prior = load_novel_view_prior(folder, precision="float32")
    assert prior.depth is not None
    depth, there = prior.depth(torch.rand(2, 3, 32, 32), torch.tensor([10.0, 50.0]))
    assert depth.shape == there.shape == (2, 16, 16)
    for file in (folder / "depth").iterdir():
        file.unlink()
    (folder / "depth").rmdir()
    assert load_novel_view_prior(folder, precision="float32").depth is None
