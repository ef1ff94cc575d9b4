"""Training learns, and a killed run goes on where an undisturbed one would have been."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpod_pipeline.priors.training import TrainingParameters, fit, learning_rate, step_generator


def _loss(net: nn.Module, step: int) -> Tensor:
    _, generator = step_generator(0, step)
    x = torch.randn(16, 3, generator=generator)
    return (net(x) - x.sum(1, keepdim=True)).square().mean()


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


class KilledError(Exception):
    pass


def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    p = TrainingParameters(steps=40, learning_rate=0.05, warmup_steps=5, checkpoint_every=10)
    straight: list[float] = []
    whole = fit(_net(), _loss, p, tmp_path / "a.pt", lambda s, n, losses: straight.append(losses["loss"]))

    losses: list[float] = []

    def dying(step: int, total: int, values: dict[str, float]) -> None:
        losses.append(values["loss"])
        if step == 25:
            raise KilledError

    with pytest.raises(KilledError):
        fit(_net(), _loss, p, tmp_path / "b.pt", dying)
    losses.clear()  # a resumed run tells of the steps behind it, too
    resumed = fit(_net(), _loss, p, tmp_path / "b.pt", lambda s, n, values: losses.append(values["loss"]))
    assert losses == straight
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert straight[-1] < 0.1 * straight[0]


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    p = TrainingParameters(steps=20, checkpoint_every=5, warmup_steps=0)
    with pytest.raises(FloatingPointError, match="step 12"):
        fit(
            _net(),
            lambda net, s: _loss(net, s) * (float("nan") if s == 12 else 1),
            p,
            tmp_path / "c.pt",
            lambda *_: None,
        )
    assert len(torch.load(tmp_path / "c.pt", weights_only=True)["losses"]) == 10


def test_the_learning_rate_warms_up_and_cools_down() -> None:
    p = TrainingParameters(steps=100, learning_rate=1.0, warmup_steps=10, decay_steps=20)
    assert learning_rate(p, 0) == pytest.approx(0.1)
    assert learning_rate(p, 50) == 1.0
    assert learning_rate(p, 99) == pytest.approx(0.1 + 0.9 / 20)
