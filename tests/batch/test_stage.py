"""What Kedro's runs of the toy (test_runs.py) do not reach: weights, and the order of what is yielded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.batch import BatchParameters, Stage, Work, run_stage
from mpod_pipeline.datasets import History, ProductPartitions
from mpod_pipeline.errors import SetupError
from mpod_pipeline.parameters import Parameters

STAGE = Stage("copy", artifacts=("copies",), code_version=1)
BATCH = BatchParameters(
    seed=0, max_failed_fraction=1, products=None, force=False, checkpoint_every_seconds=None
)


class Bench:
    """A stage that copies JSON files, saved by hand."""

    def __init__(self, folder: Path) -> None:
        self.originals = ProductPartitions(path=str(folder / "originals"), format="json")
        self.copies = ProductPartitions(path=str(folder / "copies"), format="json")
        self.records = ProductPartitions(path=str(folder / "records/copy"), format="json")
        self.history = History(folder / "records", {"copies": self.copies.load()}, folder / "checkpoints")
        self.worked: list[int] = []

    def run(self, stage: Stage = STAGE, weights: list[Path] | None = None) -> Iterator[dict[str, Any]]:
        def work(inputs: Mapping[str, Any], seed: int, *_: object) -> dict[str, Any]:
            self.worked.append(inputs["original"])
            return {"copies": inputs["original"]}

        def open_work() -> Work:
            return work

        return run_stage(
            stage,
            open_work,
            inputs={"original": self.originals.load()},
            parameters=Parameters(),
            batch=BATCH,
            history=self.history,
            weights=weights or [],
        )

    def run_and_save(self, **options: Any) -> list[int]:
        self.worked.clear()
        for chunk in self.run(**options):
            self.copies.save(chunk["copies"])
            self.records.save(chunk["records"])
        return list(self.worked)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_changed_weights_redo_and_unchanged_ones_do_not(bench: Bench, tmp_path: Path) -> None:
    bench.originals.save({"a": 1})
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "unet").write_bytes(b"1")
    assert bench.run_and_save(weights=[weights]) == [1]
    assert bench.run_and_save(weights=[weights]) == []
    (weights / "unet").write_bytes(b"22")
    assert bench.run_and_save(weights=[weights]) == [1]


def test_a_new_code_version_redoes(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    bench.run_and_save()
    assert bench.run_and_save(stage=Stage("copy", artifacts=("copies",), code_version=2)) == [1]


def test_a_run_that_dies_between_artifact_and_record_is_made_up_for(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    bench.run_and_save()
    bench.originals.save({"a": 2})
    for chunk in bench.run():
        bench.copies.save(chunk["copies"])
        if chunk["copies"]:
            break  # the new artifact is saved, its record is not
    bench.originals.save({"a": 1})  # the old record would fit the input again, but not the artifact
    assert bench.run_and_save() == [1]


def test_nothing_is_begun_before_the_result_before_is_taken(bench: Bench) -> None:
    bench.originals.save({"a": 1, "b": 2})
    for chunk in bench.run():
        bench.copies.save(chunk["copies"])
        if chunk["copies"]:
            break
    assert bench.worked == [1]


def test_an_output_that_does_not_reach_the_disk_is_a_wrong_setup(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    with pytest.raises(SetupError, match="did not reach the disk"):
        list(bench.run())


def test_an_unreadable_input_is_the_products_failure(bench: Bench) -> None:
    bench.originals.save({"a": 1, "b": 2})
    bench.originals.load().path("a").write_text("{ not json")
    assert bench.run_and_save() == [2]
    assert bench.records.load()["a"]()["state"] == "failed"
