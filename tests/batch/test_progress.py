from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator

import pytest

from mpod_pipeline.batch.progress import POINTS, LossCurves, StepProgress, in_words


@pytest.fixture(autouse=True)
def informed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "mpod_pipeline"):
        yield


def test_curves_are_kept_thin_and_end_at_the_last_step() -> None:
    steps = 10 * POINTS + 3
    shown: list[int] = []
    losses = LossCurves(lambda step, total, values: shown.append(step))
    for step in range(1, steps + 1):
        losses(step, steps, {"loss": 1 / step})
    curve = losses.curves["loss"]
    assert shown == list(range(1, steps + 1))
    assert len(curve) <= POINTS + 1
    assert curve[-1] == (steps, 1 / steps)


def test_bars_name_step_and_product_and_the_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with StepProgress("outline", 1) as progress:
        progress.report_for("mug")(1, 2, {"photo": 0.25, "prior": 0.5})
        time.sleep(0.6)  # a bar is drawn twice a second at most
        progress.report_for("mug")(2, 2, {"photo": 0.25, "prior": 0.5})
        progress.done("mug")
    bars = capsys.readouterr().err
    assert "outline mug" in bars and "loss=0.75" in bars and "photo=" not in bars
    assert "1/1" in bars


def one_product_of_three_steps(progress: StepProgress) -> None:
    report = progress.report_for("mug")
    for step in (1, 2, 3):
        report(step, 3, {"loss": 1.0})
    progress.done("mug")


def test_a_log_gets_whole_lines_and_no_more_of_them_for_more_products(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with StepProgress("outline", 5000) as progress:
        for _ in range(5000):
            one_product_of_three_steps(progress)
    assert not caplog.messages  # all within the first minute
    assert not capsys.readouterr().err


def test_a_log_is_told_in_words_how_far_a_step_is(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 100))
    monkeypatch.setattr("mpod_pipeline.batch.progress.time.monotonic", lambda: next(clock))
    with StepProgress("outline", 2) as progress:
        one_product_of_three_steps(progress)
        one_product_of_three_steps(progress)
    # How it ended, the run says.
    assert caplog.messages == [
        "outline: 0 of 2 products, 8 min left; mug: step 1 of 3",
        "outline: 0 of 2 products, 7 min left; mug: step 2 of 3",
        "outline: 0 of 2 products, 5 min left; mug: step 3 of 3",
        "outline: 1 of 2 products, 7 min left",
        "outline: 1 of 2 products, 4 min left; mug: step 1 of 3",
        "outline: 1 of 2 products, 2 min left; mug: step 2 of 3",
        "outline: 1 of 2 products, 0 s left; mug: step 3 of 3",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5940, "99 min"), (12_000, "3 h 20 min")]
)
def test_a_duration_is_said_as_a_person_would(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


def test_a_quiet_log_gets_no_progress(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpod_pipeline.batch.progress.LOG_INTERVAL_S", 0.0)
    with caplog.at_level(logging.WARNING, "mpod_pipeline"), StepProgress("outline", 1) as progress:
        one_product_of_three_steps(progress)
    assert not caplog.messages
