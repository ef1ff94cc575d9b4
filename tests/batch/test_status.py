from __future__ import annotations

from pathlib import Path

import pytest

from mpod_pipeline.batch.records import Record
from mpod_pipeline.batch.status import status_lines
from mpod_pipeline.datasets import ProductPartitions

Datasets = dict[str, ProductPartitions]


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    stages = ("segment", "refine_detail")
    return {stage: ProductPartitions(path=str(tmp_path / stage), format="json") for stage in stages}


def write(datasets: Datasets, product: str, stage: str, state: str, **known: object) -> None:
    record = Record(product=product, stage=stage, state=state, fingerprint="", **known)
    datasets[stage].save({product: record.to_json()})


def lines_for(datasets: Datasets, *photos: str, only_failed: bool = False) -> list[str]:
    records = {stage: dataset.load() for stage, dataset in datasets.items()}
    checks = dict.fromkeys(["mug"], lambda: {"cutout_confidence": 0.412, "flags": "check the cutout"})
    return list(status_lines(dict.fromkeys(photos), records, checks, only_failed))


def test_each_product_has_its_state_time_and_error(datasets: Datasets) -> None:
    write(datasets, "mug", "segment", "made", seconds=0.42)
    write(datasets, "mug", "refine_detail", "made", seconds=43)
    why = {"message": "The photo is blank.", "finished": "2026-11-23T02:00:00+00:00", "attempt": 3}
    write(datasets, "shoe", "segment", "failed", seconds=0.1, **why)
    write(datasets, "shoe", "refine_detail", "left out")
    write(datasets, "gone", "segment", "made")
    lines = lines_for(datasets, "mug", "shoe", "lamp")
    assert [line.split("  ")[0] for line in lines[:-1]] == ["product", "mug", "shoe", "lamp"]
    assert "made 0.4 s" in lines[1] and "made 43.0 s" in lines[1]
    assert lines[1].endswith("0.41 check the cutout")
    assert "failed 0.1 s" in lines[2] and "left out" in lines[2]
    assert lines[2].endswith("segment: The photo is blank. (2026-11-23T02:00:00+00:00, attempt 3)")
    assert lines[3].split() == ["lamp", "-", "-", "-"]
    assert lines[-1] == "3 products: 1 complete, 1 failed, 1 unfinished"


def test_only_failures_are_shown_on_request_and_all_are_counted(datasets: Datasets) -> None:
    write(datasets, "mug", "segment", "made")
    write(datasets, "shoe", "segment", "failed", message="No.")
    lines = lines_for(datasets, "mug", "shoe", only_failed=True)
    assert [line.split()[0] for line in lines] == ["product", "shoe", "2"]


def test_an_empty_catalog_is_a_table_without_rows(datasets: Datasets) -> None:
    assert lines_for(datasets)[-1].startswith("0 products")
