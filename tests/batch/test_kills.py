"""A small batch is killed, as by kill -9, at random moments, and run again to the end."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import sys
from collections.abc import Iterator
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.batch.records import Record
from tests.batch.conftest import ROOT, TOY, Toy, run_toy

PHOTOS = {"10": "ten", "2": "two", "Zebra": "zebra", "ant": "ant"}
BATCH = {"checkpoint_every_seconds": 0}
#: Between two of these nothing on disk changes, but the content of a file that is being written.
CHANGES = frozenset({"open", "os.rename", "os.remove", "os.mkdir", "os.truncate"})


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Processes that have everything imported already, so that twenty of them are quick."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(TOY)]))
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(
            ["tests.batch.test_kills", "toy.pipeline_registry", "mpod_pipeline.hooks.preflight", "torch"]
        )
        yield context


def run_until(moment: int | None, changes: Path, arguments: dict[str, Any]) -> None:
    """Run the toy; die at the given change of the workspace, or write down how many there are."""
    count = 0

    def watch(event: str, details: tuple[Any, ...]) -> None:
        nonlocal count
        if event in CHANGES and str(details[0]).startswith(arguments["workspace"]):
            count += 1
            if count == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)
    run_toy(**arguments)
    changes.write_text(str(count))


def artifacts(workspace: Path) -> dict[str, bytes]:
    """Everything that a run makes, but what says when and how often."""
    folders = ("texts", "shouts", "losses")
    files = [path for folder in folders for path in (workspace / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(workspace)): path.read_bytes() for path in files}


def vouched_for(workspace: Path) -> set[tuple[str, str]]:
    """(step, product) of what is on record as made."""
    records = (Record.model_validate_json(path.read_bytes()) for path in workspace.glob("records/*/[!.]*.json"))
    return {(record.step, record.product) for record in records if record.state == "made"}


def test_a_product_that_kills_its_workers_fails_and_is_tried_again_by_the_next_run(toy: Toy) -> None:
    batch = BATCH | {"executor": {"kind": "processes", "workers": 1}}
    toy.write(ant="ant", bad="unusable", fatal="SIGKILL", zebra="zebra")
    toy.run(batch=batch)
    record = toy.record("shout", "fatal")
    assert record and (record.state, record.error) == ("failed", "WorkerDied")
    assert (toy.state("shout", "ant"), toy.state("shout", "zebra")) == ("made", "made")
    assert [row[:3] for row in toy.failures()] == [["bad", "read", "ProductError"], ["fatal", "shout", "WorkerDied"]]
    # what was killed from outside goes on where it was
    assert [path.name for path in toy.workspace.rglob("*.pt")] == ["fatal.pt"]
    toy.write(fatal="mended")
    toy.run(batch=batch)
    assert toy.state("shout", "fatal") == "made"


@pytest.mark.slow
def test_twenty_kills_lose_nothing_and_make_nothing_twice(
    toy: Toy, tmp_path: Path, processes: ForkServerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/absent/mlflow.db")  # not what is tested
    toy.write(**PHOTOS)
    toy.workspace = tmp_path / "undisturbed"
    toy.run()
    wanted = artifacts(toy.workspace)
    assert len(wanted) == 3 * len(PHOTOS)

    def die(workspace: Path, moment: int | None) -> int | None:
        changes = tmp_path / "changes"
        arguments = toy.arguments | {"workspace": str(workspace), "batch": BATCH}
        process = processes.Process(target=run_until, args=(moment, changes, arguments))
        process.start()
        process.join()
        return int(changes.read_text()) if process.exitcode == 0 else process.exitcode

    total = die(tmp_path / "counted", None)
    assert total and total > 100
    draw = random.Random(0)
    for moment in sorted(draw.sample(range(1, total + 1), 20)):
        toy.workspace = tmp_path / f"killed at {moment}"
        assert die(toy.workspace, moment) == -signal.SIGKILL
        before = vouched_for(toy.workspace)
        done = toy.run(batch=BATCH)
        products = {text: product for product, text in PHOTOS.items()}
        again = {(step, products[text]) for step, text in done}
        assert len(again) == len(done)
        assert before.isdisjoint(again)
        assert before | again == {(step, product) for step in ("read", "shout") for product in PHOTOS}
        assert artifacts(toy.workspace) == wanted
        # What was being written is taken up again, except a killed run's own summary, which no other run writes.
        hidden = {path.parent.name for path in toy.workspace.rglob(".*.part.*")}
        assert hidden <= {"runs"} and not list(toy.workspace.rglob("*.pt"))
    assert toy.run(batch=BATCH) == []
