"""What must not grow with the catalog: memory, and how often folders are listed."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch import BatchParameters, BatchStep, Report, Work, run_step
from mpod_pipeline.batch.parameters import ExecutorParameters
from mpod_pipeline.datasets import History, ProductPartitions, StepRecords
from mpod_pipeline.hooks.batch import BatchHooks

STEP = BatchStep("copy", artifacts=("copies",), code_version=1)
BATCH = BatchParameters(
    seed=0,
    max_failed_fraction=1,
    products=None,
    force=False,
    checkpoint_every_seconds=None,
    executor=ExecutorParameters(kind="in_process"),
)
ARTIFACT = 20_000  # characters


def open_work() -> Work:
    def work(inputs: Mapping[str, Any], seed: int, report: Report, *others: Any) -> dict[str, Any]:
        report(1, 1, {"loss": 1.0})
        return {"copies": "x" * ARTIFACT}

    return work


def run(folder: Path, products: int) -> Callable[[], None]:
    """A run over that many products, every result saved as Kedro saves it."""
    names = ("originals", "copies")
    data = {name: ProductPartitions(path=str(folder / name), format="json") for name in names}
    records = StepRecords(path=str(folder), step="copy")
    data["originals"].save({f"product-{number}": number for number in range(products)})
    history = History(folder / "records", {"copies": data["copies"].load()}, folder / "checkpoints")

    def once() -> None:
        chunks = run_step(
            STEP,
            open_work,
            inputs={"original": data["originals"].load()},
            parameters=Parameters(),
            batch=BATCH,
            history=history,
        )
        for chunk in chunks:
            data["copies"].save(chunk["copies"])
            records.save(chunk["records"])

    return once


def peak_bytes(once: Callable[[], None]) -> int:
    tracemalloc.start()
    try:
        once()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("night", ["first", "second"])
def test_memory_does_not_grow_but_by_the_products_names(tmp_path: Path, night: str) -> None:
    few, many = run(tmp_path / "few", 20), run(tmp_path / "many", 200)
    if night == "second":
        few()
        many()
    growth = (peak_bytes(many) - peak_bytes(few)) / 180
    # a name of 11 letters in a list and a set of names takes some 200 bytes; a result kept would take 20,000
    assert growth < 1000


def test_folders_are_not_listed_for_every_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, many = run(tmp_path / "few", 5), run(tmp_path / "many", 50)
    listed: list[Any] = []
    scandir = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scandir(folder))
    few()
    after_few = len(listed)
    many()
    assert len(listed) - after_few == after_few


def test_a_batch_keeps_no_records_of_its_successes() -> None:
    hooks = BatchHooks()
    record = {"product": "a", "step": "copy", "state": "made", "fingerprint": ""}

    class Copy:
        name = "copy"

    for number in range(100):
        data = {"records": {"a": {**record, "product": str(number)}}, "summary": {}}
        hooks.after_dataset_saved("copy_records", data, Copy())  # type: ignore[arg-type]
    assert hooks.summary.failures == []
