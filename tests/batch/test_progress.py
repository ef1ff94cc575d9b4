from __future__ import annotations

import pytest

from mpod_pipeline.batch.progress import POINTS, StageProgress


def test_curves_are_kept_thin_and_end_at_the_last_step() -> None:
    steps = 10 * POINTS + 3
    with StageProgress("stage", 1) as progress:
        report = progress.report_for("mug")
        for step in range(1, steps + 1):
            report(step, steps, {"loss": 1 / step})
        curve = progress.curves["loss"]
    assert len(curve) <= POINTS + 1
    assert curve[-1] == (steps, 1 / steps)


def test_a_product_begins_with_an_empty_curve() -> None:
    with StageProgress("stage", 2) as progress:
        progress.report_for("mug")(1, 1, {"loss": 1.0})
        progress.report_for("shoe")(1, 1, {"sharpness": 2.0})
        assert progress.curves == {"sharpness": [(1, 2.0)]}


def test_bars_name_stage_and_product_and_the_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    with StageProgress("outline", 1) as progress:
        progress.report_for("mug")(1, 2, {})
        progress.product_done()
    bars = capsys.readouterr().err
    assert "outline mug" in bars
    assert "1/1" in bars
