"""Every optimisation's loop: resuming, noticing that it goes astray, and one more try."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.report import Report
from mpod_pipeline.method import optimisation
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.detail import refine_detail
from mpod_pipeline.method.inpainting import InpaintingParameters
from mpod_pipeline.method.masks import export_masks
from mpod_pipeline.method.optimisation import LOWER_STEP, LossPart, Optimisation, has_diverged
from mpod_pipeline.method.outline import optimize_outline
from mpod_pipeline.method.textual_inversion import TextualInversionParameters, learn_token
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior
from tests.method.quick import QUICK_DETAIL, QUICK_MASKS, QUICK_OUTLINE, Ball

STEPS = 60
Losses = dict[str, Tensor]


class Fit:
    """A point that is drawn to where noisy arrows point: parameters, a buffer, momentum and random numbers."""

    def __init__(self, learning_rate: float = 0.05) -> None:
        self.module = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            self.module.weight.fill_(5.0)
        self.module.register_buffer("mean", torch.zeros(1, 3))
        self.generator = torch.Generator().manual_seed(7)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=learning_rate)
        self.steps: list[int] = []
        self.spoil: Callable[[int, Losses], Losses] = lambda step, losses: losses

    def losses_of(self, step: int) -> Losses:
        self.steps.append(step)
        weight = self.module.weight
        self.module.mean.copy_(0.9 * self.module.mean + 0.1 * weight.detach())
        noise = torch.randn(1, 3, generator=self.generator)
        losses = {"pull": (weight - 1 + 0.1 * noise).square().sum(), "calm": (weight - self.module.mean).square().sum()}
        return self.spoil(step, losses)

    def run(self, report: Report = lambda *_: None, checkpoint: Checkpoint | None = None) -> Tensor:
        fit = Optimisation("The fit", self.module, self.optimizer, self.generator, STEPS)
        fit.run(self.losses_of, report, checkpoint)
        return torch.cat([self.module.weight.detach(), self.module.mean])


class Killed(BaseException):
    """No error of the work: the process is gone."""


def kill_after(step: int) -> Report:
    def report(at: int, total: int, losses: dict[str, float]) -> None:
        if at == step:
            raise Killed

    return report


@pytest.mark.parametrize("threads", [1, 2])
def test_losses_in_parts_are_those_of_one_piece(threads: int) -> None:
    """Two parts have a loss of one name, and another has none in this step."""
    whole, parted = Fit(), Fit()
    told: dict[str, list[dict[str, float]]] = {"whole": [], "parted": []}

    def in_parts(step: int) -> list[LossPart]:
        weight, mean = parted.module.weight, parted.module.mean
        mean.copy_(0.9 * mean + 0.1 * weight.detach())
        wanted = 1 - 0.1 * torch.randn(1, 3, generator=parted.generator)

        def pull(some: slice) -> Losses:
            return {"pull": (weight - wanted)[:, some].square().sum()}

        return [
            lambda: pull(slice(1)),
            lambda: {"calm": (weight - mean).square().sum()},
            dict,
            lambda: pull(slice(1, 3)),
        ]

    made = whole.run(lambda step, steps, losses: told["whole"].append(losses))
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        fit = Optimisation("The fit", parted.module, parted.optimizer, parted.generator, STEPS)
        fit.run(in_parts, lambda step, steps, losses: told["parted"].append(losses))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(torch.cat([parted.module.weight.detach(), parted.module.mean]), made)
    for one, other in zip(*told.values(), strict=True):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-6)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "stage" / "mug.pt", "the same work", every_seconds=0)


@pytest.mark.parametrize("killed_after", [1, 20, 29, 30, 31, 57, STEPS])
def test_a_killed_run_ends_as_an_undisturbed_one(checkpoint: Checkpoint, killed_after: int) -> None:
    undisturbed: list[tuple[int, dict[str, float]]] = []
    wanted = Fit().run(lambda step, _, losses: undisturbed.append((step, losses)))

    with pytest.raises(Killed):
        Fit().run(kill_after(killed_after), checkpoint)
    told: list[tuple[int, dict[str, float]]] = []
    resumed = Fit()
    assert torch.equal(resumed.run(lambda step, _, losses: told.append((step, losses)), checkpoint), wanted)
    assert told == undisturbed  # so that its loss curves are whole
    assert resumed.steps[0] >= killed_after - 20 or killed_after < 20  # and it did not just start anew


def test_a_run_that_is_killed_again_and_again_gets_to_its_end(checkpoint: Checkpoint) -> None:
    for killed_after in (25, 35, 45, 55):
        with pytest.raises(Killed):
            Fit().run(kill_after(killed_after), checkpoint)
    assert torch.equal(Fit().run(checkpoint=checkpoint), Fit().run())


def test_a_second_try_is_resumed_as_the_second(checkpoint: Checkpoint) -> None:
    def spoiled_at_15() -> Fit:
        fit, spoilt = Fit(), []

        def spoil(step: int, losses: Losses) -> Losses:
            if step == 15 and not spoilt:
                spoilt.append(step)
                losses["pull"] = losses["pull"] * float("nan")
            return losses

        fit.spoil = spoil
        return fit

    wanted = spoiled_at_15().run()
    with pytest.raises(Killed):
        spoiled_at_15().run(kill_after(50), checkpoint)
    resumed = Fit()  # the cause is behind it
    assert torch.equal(resumed.run(checkpoint=checkpoint), wanted)
    assert resumed.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * LOWER_STEP)


def test_other_work_or_a_damaged_file_is_started_anew(checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    wanted = Fit().run()
    with pytest.raises(Killed):
        Fit(learning_rate=0.5).run(kill_after(40), checkpoint)
    other = Checkpoint(checkpoint.path, "other work", every_seconds=3600)
    assert torch.equal(Fit().run(checkpoint=other), wanted)
    assert not caplog.records
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:500])
    assert torch.equal(Fit().run(checkpoint=checkpoint), wanted)
    assert "cannot be read" in caplog.text


def test_nothing_is_written_before_its_time(checkpoint: Checkpoint) -> None:
    Fit().run(checkpoint=Checkpoint(checkpoint.path, "the same work", every_seconds=3600))
    assert not checkpoint.path.exists()


def not_a_number(step: int, losses: Losses) -> Losses:
    return losses | {"pull": losses["pull"] * float("nan")}


def no_gradient(step: int, losses: Losses) -> Losses:
    return losses | {"root": (losses["pull"] * 0).sqrt()}  # finite, with the gradient 0 * infinity


def lost(step: int, losses: Losses) -> Losses:
    raise ProductError("It is gone.")


@pytest.mark.parametrize("trouble", [not_a_number, no_gradient, lost])
def test_what_goes_astray_once_is_tried_again_from_before(
    trouble: Callable[[int, Losses], Losses], caplog: pytest.LogCaptureFixture
) -> None:
    fit, spoilt = Fit(), []

    def spoil(step: int, losses: Losses) -> Losses:
        if step == 37 and not spoilt:
            spoilt.append(step)
            return trouble(step, losses)
        return losses

    fit.spoil = spoil
    end = fit.run()
    assert torch.isfinite(end).all()
    assert fit.steps == [*range(38), *range(20, STEPS)]  # noticed in the step itself; 30 was not yet proven good
    assert fit.optimizer.param_groups[0]["lr"] == pytest.approx(0.05 * LOWER_STEP)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize(
    ("trouble", "sentence"), [(not_a_number, "step 38"), (no_gradient, "gradient"), (lost, "gone")]
)
def test_what_goes_astray_twice_is_the_products_failure(
    trouble: Callable[[int, Losses], Losses], sentence: str
) -> None:
    fit = Fit()
    fit.spoil = lambda step, losses: trouble(step, losses) if step == 37 else losses
    with pytest.raises(ProductError, match=sentence):
        fit.run()
    assert fit.steps == [*range(38), *range(20, 38)]


def test_an_explosion_is_noticed_within_a_few_steps() -> None:
    fit = Fit()

    def spoil(step: int, losses: Losses) -> Losses:
        return losses | {"pull": losses["pull"] * 10.0 ** (step - 30)} if step > 30 else losses

    fit.spoil = spoil
    with pytest.raises(ProductError, match="grew beyond measure"):
        fit.run()
    assert max(fit.steps) <= 37


@pytest.mark.parametrize(
    ("history", "diverged"),
    [
        ([[1.0, 1.0]] * 30, False),
        ([[1.0, 1.0]] * 25 + [[100.0, 1.0]] * 2, False),  # one or two odd draws
        ([[1.0, 1.0]] * 25 + [[19.0, 0.0]] * 5, False),
        ([[1.0, 1.0]] * 25 + [[21.0, 0.0]] * 3, True),
        ([[0.0, 1.0]] * 25 + [[5.0, 1.0]] * 5, False),  # a loss that begins at nothing
        ([[1.0, 1.0], [1.0, 1.0], [500.0, 1.0]] * 3, False),
        ([[1.0, 1.0], *[[500.0, 1.0]] * 4], True),  # from the very first step on
    ],
)
def test_what_counts_as_diverged(history: list[list[float]], diverged: bool) -> None:
    assert has_diverged([{"a": a, "b": b} for a, b in history]) is diverged


def test_a_loss_that_is_not_in_every_step_counts_where_it_first_comes() -> None:
    drawn = [{"prior": 0.1}, {"prior": 0.1}, {"photo": 50.0}, {"photo": 50.0}, {"photo": 49.0}]
    assert not has_diverged(drawn)


def test_a_loss_without_measure_is_no_sign_of_divergence() -> None:
    """Score distillation's goes with the noise level, by a factor of a thousand."""
    history = [{"sds": 10.0**level, "photo": 1.0} for level in (-2, -1, 1, 2, 2, 2, 2)]
    assert not has_diverged(history)
    assert has_diverged([{"prior": losses["sds"], "photo": 1.0} for losses in history])
    assert has_diverged([*history, *[{"sds": 0.0, "photo": 50.0}] * 3])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """States are good, and written down, after two steps instead of ten."""
    monkeypatch.setattr(optimisation, "GOOD_AFTER", 2)


@pytest.mark.usefixtures("hasty")
def test_the_learned_word_is_the_same_after_a_kill(
    cutouts: Cutouts, text_to_image: TextToImagePrior, checkpoint: Checkpoint
) -> None:
    p = TextualInversionParameters(steps=6, batch_size=1)

    def learn(report: Report, checkpoint: Checkpoint | None = None) -> Tensor:
        return learn_token(cutouts, text_to_image, p, 0, report, checkpoint)

    with pytest.raises(Killed):
        learn(kill_after(5), checkpoint)
    state = checkpoint.load()
    assert state and state["step"] == 2
    assert torch.equal(learn(lambda *_: None, checkpoint), learn(lambda *_: None))


@pytest.mark.usefixtures("hasty")
def test_the_outline_is_the_same_after_a_kill(
    cutouts: Cutouts, novel_view: NovelViewPrior, checkpoint: Checkpoint
) -> None:
    p = QUICK_OUTLINE.model_copy(update={"steps": 6})
    with pytest.raises(Killed):
        optimize_outline(cutouts, novel_view, p, 0, kill_after(5), checkpoint)
    resumed = optimize_outline(cutouts, novel_view, p, 0, lambda *_: None, checkpoint).field
    undisturbed = optimize_outline(cutouts, novel_view, p, 0, lambda *_: None).field
    wanted = undisturbed.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in resumed.state_dict().items())


def test_an_outline_with_far_too_large_steps_is_noticed_and_tried_again(
    cutouts: Cutouts, novel_view: NovelViewPrior, caplog: pytest.LogCaptureFixture
) -> None:
    """Whether smaller steps save it hangs on the last digits, which threads change; that they can is tested above."""
    p = QUICK_OUTLINE.model_copy(
        update={"table_learning_rate": 20.0, "network_learning_rate": 10.0, "resolutions": (16,)}
    )
    told: list[float] = []
    with suppress(ProductError):
        optimize_outline(cutouts, novel_view, p, 0, lambda step, _, losses: told.append(sum(losses.values())))
    assert "grew beyond measure" in caplog.text
    assert "Trying once more" in caplog.text
    assert max(told) > 10 * told[0]


@pytest.mark.usefixtures("hasty")
def test_the_mesh_is_the_same_after_a_kill(
    cutouts: Cutouts, text_to_image: TextToImagePrior, checkpoint: Checkpoint
) -> None:
    field = Ball(20.0)
    masks = export_masks(field, QUICK_MASKS)
    token = text_to_image.word_embedding("a")
    painted = InpaintingParameters(views=2, every=4, steps=1)
    p = QUICK_DETAIL.model_copy(update={"steps": 6, "inpainting": painted})

    def refine(report: Report, checkpoint: Checkpoint | None = None) -> dict[str, torch.Tensor]:
        made = refine_detail(cutouts, token, field, masks, text_to_image, p, 0, report, checkpoint)
        return made.stored().tensors

    with pytest.raises(Killed):
        refine(kill_after(5), checkpoint)
    resumed, undisturbed = refine(lambda *_: None, checkpoint), refine(lambda *_: None)
    assert all(torch.equal(tensor, undisturbed[name]) for name, tensor in resumed.items())
