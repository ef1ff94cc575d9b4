from __future__ import annotations

import pytest

from mpod_pipeline.batch.records import Record
from mpod_pipeline.batch.summary import SHOWN, RunSummary, table_lines


def failure(product: str, step: str) -> Record:
    return Record(product=product, step=step, state="failed", fingerprint="", message=f"{product} is odd.")


def test_a_product_counts_as_failed_once() -> None:
    summary = RunSummary()
    counts = {"made": 3, "skipped": 0, "failed": 1, "left_out": 0, "gone": 0, "seconds": 8.0, "peak_bytes": 0}
    summary.steps = {"segment": {"products": 4, **counts}, "evaluate": {"products": 3, **counts}}
    for record in [failure("mug", "segment"), failure("mug", "evaluate")]:
        summary.note(record)
    assert summary.failed_fraction == pytest.approx(0.25)


def test_nothing_run_is_nothing_failed() -> None:
    assert RunSummary().failed_fraction == 0


def test_the_table_says_who_failed_why() -> None:
    summary = RunSummary()
    summary.steps = {
        "segment": {
            "products": 4,
            "made": 3,
            "skipped": 0,
            "failed": 1,
            "left_out": 0,
            "gone": 0,
            "seconds": 8.0,
            "peak_bytes": 1_500_000_000,
        }
    }
    summary.note(failure("mug", "segment"))
    header, row, why = summary.as_text().splitlines()
    assert header.startswith("step") and header.endswith("s/product  GB/worker")
    assert row.split() == ["segment", "4", "3", "0", "1", "0", "0", "8.0", "2.0", "1.5"]
    assert why == "failed: mug in segment: mug is odd."


def test_steps_without_work_have_no_row() -> None:
    none = dict.fromkeys(("made", "skipped", "failed", "left_out", "gone", "seconds", "peak_bytes"), 0)
    summary = RunSummary(steps={"segment": {**none, "products": 1, "failed": 1}})
    summary.steps |= {step: {**none, "products": 1, "left_out": 1} for step in ("learn_tokens", "evaluate")}
    summary.note(failure("mug", "segment"))
    assert [line.split()[0] for line in summary.as_text().splitlines()] == ["step", "segment", "failed:"]
    assert RunSummary(steps={"segment": {**none, "skipped": 9}}).as_text() == "No product had to be made."


def test_thousands_of_failures_do_not_flood_the_terminal_but_are_all_in_the_json() -> None:
    summary = RunSummary(max_failed_fraction=1.0)
    for number in range(5000):
        summary.note(failure(f"p{number}", "segment"))
    lines = summary.as_text().splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == f"failed: {5000 - SHOWN} more"
    assert len(summary.to_json()["failures"]) == 5000


def test_the_means_of_the_scores_stand_below_the_table_without_the_seconds() -> None:
    means = {"outline_psnr": 23.9, "psnr": 24.6123, "watertight": 1.0, "seconds_segment": 3.0}
    summary = RunSummary(mean_scores=means)
    told = [line.split() for line in summary.as_text().splitlines()]
    assert told[-3:] == [["mean", "score", "model", "stage", "1"], ["psnr", "24.61", "23.9"], ["watertight", "1"]]
    assert summary.to_json()["mean_scores"] == means
    assert "mean" not in RunSummary().as_text()


def test_the_verdict() -> None:
    counts = {"products": 2, "made": 1, "skipped": 0, "failed": 1, "left_out": 0, "gone": 0, "seconds": 1.0}
    summary = RunSummary(max_failed_fraction=0.5, steps={"segment": counts})
    summary.note(failure("mug", "segment"))
    assert summary.verdict == "finished"
    summary.max_failed_fraction = 0.4
    assert summary.verdict == "too many failed"
    summary.stopped_by = "TypeError: a bug"
    assert summary.verdict == "stopped"


def test_columns_are_aligned_as_a_terminal_shows_them() -> None:
    rows = [("靴", "1"), ("👟👟", "10"), ("e\u0301", "100"), ("\x1b[31m", "2")]
    lines = list(table_lines(rows))
    assert lines == ["靴          1", "👟👟       10", "e\u0301         100", "\\x1b[31m    2"]


def test_columns_are_aligned() -> None:
    rows = [("a", "n", "why"), ("bbb", "10", "x")]
    assert list(table_lines(rows, texts=(0, 2))) == ["a     n  why", "bbb  10  x"]
