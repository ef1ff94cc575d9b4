from __future__ import annotations

import pytest

from mpod_pipeline.batch.records import Record
from mpod_pipeline.batch.summary import RunSummary


def failure(product: str, stage: str) -> Record:
    return Record(product=product, stage=stage, state="failed", fingerprint="", message=f"{product} is odd.")


def test_a_product_counts_as_failed_once() -> None:
    summary = RunSummary()
    counts = {"made": 3, "skipped": 0, "failed": 1, "left_out": 0, "seconds": 8.0}
    summary.stages = {"segment": {"products": 4, **counts}, "evaluate": {"products": 3, **counts}}
    for record in [failure("mug", "segment"), failure("mug", "evaluate")]:
        summary.note(record)
    assert summary.failed_fraction == pytest.approx(0.25)


def test_nothing_run_is_nothing_failed() -> None:
    assert RunSummary().failed_fraction == 0


def test_the_table_says_who_failed_why() -> None:
    summary = RunSummary()
    summary.stages = {
        "segment": {"products": 4, "made": 3, "skipped": 0, "failed": 1, "left_out": 0, "seconds": 8.0}
    }
    summary.note(failure("mug", "segment"))
    header, row, why = summary.as_text().splitlines()
    assert header.startswith("stage") and header.endswith("s/product")
    assert row.split() == ["segment", "4", "3", "0", "1", "0", "8.0", "2.0"]
    assert why == "failed: mug in segment: mug is odd."
