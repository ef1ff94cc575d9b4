from __future__ import annotations

import pytest

from mpod_pipeline.batch.records import Record
from mpod_pipeline.batch.summary import SHOWN, RunSummary, table_lines


def failure(product: str, stage: str) -> Record:
    return Record(product=product, stage=stage, state="failed", fingerprint="", message=f"{product} is odd.")


def test_a_product_counts_as_failed_once() -> None:
    summary = RunSummary()
    counts = {"made": 3, "skipped": 0, "failed": 1, "left_out": 0, "seconds": 8.0, "peak_bytes": 0}
    summary.stages = {"segment": {"products": 4, **counts}, "evaluate": {"products": 3, **counts}}
    for record in [failure("mug", "segment"), failure("mug", "evaluate")]:
        summary.note(record)
    assert summary.failed_fraction == pytest.approx(0.25)


def test_nothing_run_is_nothing_failed() -> None:
    assert RunSummary().failed_fraction == 0


def test_the_table_says_who_failed_why() -> None:
    summary = RunSummary()
    summary.stages = {
        "segment": {
            "products": 4,
            "made": 3,
            "skipped": 0,
            "failed": 1,
            "left_out": 0,
            "seconds": 8.0,
            "peak_bytes": 1_500_000_000,
        }
    }
    summary.note(failure("mug", "segment"))
    header, row, why = summary.as_text().splitlines()
    assert header.startswith("stage") and header.endswith("s/product  GB/worker")
    assert row.split() == ["segment", "4", "3", "0", "1", "0", "8.0", "2.0", "1.5"]
    assert why == "failed: mug in segment: mug is odd."


def test_thousands_of_failures_do_not_flood_the_terminal_but_are_all_in_the_json() -> None:
    summary = RunSummary(max_failed_fraction=1.0)
    for number in range(5000):
        summary.note(failure(f"p{number}", "segment"))
    lines = summary.as_text().splitlines()
    assert len(lines) == 1 + SHOWN + 1
    assert lines[-1] == f"failed: {5000 - SHOWN} more"
    assert len(summary.to_json()["failures"]) == 5000


def test_the_verdict() -> None:
    counts = {"products": 2, "made": 1, "skipped": 0, "failed": 1, "left_out": 0, "seconds": 1.0}
    summary = RunSummary(max_failed_fraction=0.5, stages={"segment": counts})
    summary.note(failure("mug", "segment"))
    assert summary.verdict == "finished"
    summary.max_failed_fraction = 0.4
    assert summary.verdict == "too many failed"
    summary.stopped_by = "TypeError: a bug"
    assert summary.verdict == "stopped"


def test_columns_are_aligned() -> None:
    rows = [("a", "n", "why"), ("bbb", "10", "x")]
    assert list(table_lines(rows, texts=(0, 2))) == ["a     n  why", "bbb  10  x"]
