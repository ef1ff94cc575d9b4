"""What Kedro's runs of the toy (test_runs.py) do not reach: weights, and the order of what is yielded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch import BatchParameters, BatchStep, Checkpoint, Report, Work, run_step
from mpod_pipeline.batch.parameters import ExecutorParameters
from mpod_pipeline.datasets import History, ProductPartitions

NOTHING = Parameters()
STEP = BatchStep("copy", artifacts=("copies",), code_version=1)
BATCH = BatchParameters(
    seed=0,
    max_failed_fraction=1,
    products=None,
    force=False,
    checkpoint_every_seconds=None,
    executor=ExecutorParameters(kind="in_process"),
)


class Bench:
    """A step that copies JSON files, saved by hand."""

    def __init__(self, folder: Path) -> None:
        self.originals = ProductPartitions(path=str(folder / "originals"), format="json")
        self.copies = ProductPartitions(path=str(folder / "copies"), format="json")
        self.records = ProductPartitions(path=str(folder / "records/copy"), format="json")
        self.history = History(folder / "records", {"copies": self.copies.load()}, folder / "checkpoints")
        self.worked: list[int] = []

    def run(
        self,
        step: BatchStep = STEP,
        weights: list[Path] | None = None,
        parameters: Parameters = NOTHING,
        every: float | None = None,
        interrupt: Exception | None = None,
        products: tuple[str, ...] | None = None,
        settings: dict[str, dict[str, str]] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """interrupt: raised by the work when its first half is in the checkpoint."""

        def work(inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None) -> dict[str, Any]:
            half = checkpoint.load() if checkpoint else None
            if half is None:
                self.worked.append(inputs["original"])
                self.own = inputs["parameters"]
                half = {"copy": inputs["original"]}
                if checkpoint:
                    checkpoint.save(half)
                if interrupt:
                    raise interrupt
            return {"copies": half["copy"]}

        def open_work() -> Work:
            return work

        return run_step(
            step,
            open_work,
            inputs={"original": self.originals.load()},
            parameters=parameters,
            batch=BATCH.model_copy(update={"checkpoint_every_seconds": every, "products": products}),
            history=self.history,
            weights=weights or [],
            product_settings=settings,
        )

    def run_and_save(self, **options: Any) -> list[int]:
        self.worked.clear()
        for chunk in self.run(**options):
            self.copies.save(chunk["copies"])
            self.records.save(chunk["records"]["records"])
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


class CopierParameters(Parameters):
    checkpoints: tuple[Path, ...]


def test_weights_that_a_parameter_names_count_by_content_wherever_they_lie(bench: Bench, tmp_path: Path) -> None:
    bench.originals.save({"a": 1})
    for name, content in [("sam", b"1"), ("moved", b"1"), ("other", b"2")]:
        (tmp_path / name).write_bytes(content)
    sam, moved, other = (CopierParameters(checkpoints=(tmp_path / name,)) for name in ("sam", "moved", "other"))
    assert bench.run_and_save(parameters=sam) == [1]
    assert bench.run_and_save(parameters=moved) == []
    assert bench.run_and_save(parameters=other) == [1]
    (tmp_path / "other").write_bytes(b"33")
    assert bench.run_and_save(parameters=other) == [1]
    (tmp_path / "other").unlink()
    (tmp_path / "sam").unlink()
    assert bench.run_and_save(parameters=other) == [1]
    assert bench.run_and_save(parameters=sam) == [1]  # nothing is known of either but its name


def interrupt(bench: Bench, **options: Any) -> None:
    """Begin product a, and stop half way through it."""
    with pytest.raises(SetupError, match="the end"):
        bench.run_and_save(every=0, interrupt=SetupError("the end"), **options)
    assert list(bench.history.checkpoints.rglob("*.pt"))


class Sized(Parameters):
    size: float = Field(1.0, gt=0)
    name: str = "copy"


def test_what_the_catalog_says_of_a_product_takes_the_parameters_place_for_it_alone(bench: Bench) -> None:
    bench.originals.save({"a": 1, "b": 2})
    assert bench.run_and_save(parameters=Sized()) == [1, 2]
    settings = {"a": {"size": "1"}, "b": {"size": "2.50", "price": "9"}, "gone": {"size": "3"}}
    assert bench.run_and_save(parameters=Sized(), settings=settings) == [2]  # a's is as it was
    assert bench.own == Sized(size=2.5)
    assert bench.run_and_save(parameters=Sized(), settings=settings) == []
    assert bench.run_and_save(parameters=Sized(), settings={"b": {"price": "8"}}) == [2]
    assert bench.own == Sized()


@pytest.mark.parametrize("size", ["large", "2,5", "0", "-1", "nan", "inf"])
def test_a_setting_that_makes_no_sense_is_its_products_failure(bench: Bench, size: str) -> None:
    bench.originals.save({"a": 1, "b": 2})
    assert bench.run_and_save(parameters=Sized(), settings={"a": {"size": size}}) == [2]
    record = bench.records.load()["a"]()
    assert (record["state"], record["error"]) == ("failed", "ProductError")
    assert "column size" in record["message"]


def test_work_that_was_interrupted_goes_on_from_its_checkpoint(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    interrupt(bench)
    assert bench.run_and_save(every=60) == []  # how often to write is no reason to start anew
    assert bench.copies.load()["a"]() == 1
    assert not list(bench.history.checkpoints.rglob("*.pt"))


def test_a_checkpoint_of_other_work_is_not_gone_on_from(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    interrupt(bench)
    bench.originals.save({"a": 2})
    assert bench.run_and_save(every=0) == [2]
    assert bench.copies.load()["a"]() == 2


def test_without_being_asked_nothing_is_kept_nor_gone_on_from(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    interrupt(bench)
    assert bench.run_and_save() == [1]
    assert not list(bench.history.checkpoints.rglob("*.pt"))


def test_a_failed_product_starts_anew(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    assert bench.run_and_save(every=0, interrupt=ProductError("It is odd.")) == [1]
    assert not list(bench.history.checkpoints.rglob("*.pt"))
    assert bench.run_and_save(every=0) == [1]


def test_a_product_that_is_gone_leaves_no_checkpoint(bench: Bench) -> None:
    bench.originals.save({"a": 1, "b": 2})
    bench.run_and_save()
    bench.originals.save({"a": 3})
    interrupt(bench)
    bench.originals.save({"a": None})
    assert bench.run_and_save(every=0) == []
    assert not list(bench.history.checkpoints.rglob("*.pt"))


def test_a_new_code_version_redoes(bench: Bench) -> None:
    bench.originals.save({"a": 1})
    bench.run_and_save()
    assert bench.run_and_save(step=BatchStep("copy", artifacts=("copies",), code_version=2)) == [1]


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


def test_a_chosen_product_that_failed_two_steps_before_does_not_stop_the_others(bench: Bench, tmp_path: Path) -> None:
    """The step between, that makes what this one looks at first, has no record of it."""
    bench.originals.save({"good": 1})
    first = ProductPartitions(path=str(tmp_path / "records/first"), format="json")
    first.save({"bad": {"state": "failed"}})
    third = replace(STEP, made_by={"original": "second"})
    assert bench.run_and_save(step=third, products=("bad", "good")) == [1]
    with pytest.raises(SetupError, match="no product 'baad'"):
        bench.run_and_save(step=third, products=("baad", "good"))
