"""Steps done by processes of this machine: the executor that is used by default."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import torch

from mpod_pipeline.batch import processes
from mpod_pipeline.batch.isolation import BrokenWorkerError, Outcome, Task, attempt
from mpod_pipeline.batch.processes import Processes, close_workers, kill_workers, start_worker, worker_count
from mpod_pipeline.batch.progress import StepProgress
from tests.batch.bench import Bench, ExecutorPromises
from tests.batch.worker_toy import Unknown


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(processes, "cores", lambda: 2)
    yield Bench(tmp_path, "processes")
    close_workers()


class TestPromises(ExecutorPromises):
    """By processes of this machine."""


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children() if child.status() != psutil.STATUS_ZOMBIE}


@pytest.mark.parametrize("text", ["killed once", "broken gpu"])
def test_a_worker_that_dies_costs_its_product_a_second_try_in_the_same_run(bench: Bench, text: str) -> None:
    bench.originals.save({"a": "a", "b": "b", "odd": text})
    bench.run()
    assert {bench.state(product) for product in ("a", "b", "odd")} == {"made"}
    assert bench.attempts() == Counter({"a": 1, "b": 1, text: 2})


def test_processes_serve_one_step_after_another_and_end_with_the_run(bench: Bench) -> None:
    before = children()
    bench.originals.save({"a": "a", "b": "b", "slow": "slow"})
    bench.run()
    workers = children() - before
    bench.run(force=True)
    assert children() - before == workers
    assert len(list(bench.diary.glob("opened-*"))) <= 2 + 2  # once per worker and step
    close_workers()
    assert not {pid for pid in workers & children() if "resource_tracker" not in _command(pid)}


def test_a_worker_that_died_at_rest_is_replaced(bench: Bench) -> None:
    before = children()
    bench.originals.save({"a": "a", "b": "b"})
    bench.run()
    for pid in children() - before:
        psutil.Process(pid).kill()
    bench.run(force=True)
    assert bench.saved == Counter({"a": 2, "b": 2}) == bench.attempts()


def test_a_worker_that_began_early_takes_the_work(bench: Bench) -> None:
    before = children()
    start_worker(1, ["json", "tests.batch.worker_toy"])
    early = children() - before
    bench.originals.save({"a": "a"})
    bench.run()
    assert bench.state("a") == "made"
    assert children() - before == early
    start_worker(2, [])
    assert children() - before == early  # it still rests


def test_a_worker_that_dies_before_it_has_begun_is_replaced(bench: Bench) -> None:
    before = children()
    start_worker(1, ["tests.batch.worker_toy"])
    for pid in children() - before:
        if "resource_tracker" not in _command(pid):
            psutil.Process(pid).kill()
    bench.originals.save({"a": "a"})
    bench.run()
    assert bench.state("a") == "made"


def test_a_worker_without_work_is_killed_while_it_imports(bench: Bench) -> None:
    before = children()
    start_worker(1, ["tests.batch.slow_import"])
    begun = time.monotonic()
    kill_workers()
    assert time.monotonic() - begun < 30  # the import takes a minute
    assert not {pid for pid in children() - before if "resource_tracker" not in _command(pid)}


def test_a_worker_that_began_with_other_threads_makes_room(bench: Bench) -> None:
    before = children()
    start_worker(1, [])
    early = children() - before
    bench.originals.save({"a": "a", "b": "b"})  # for two workers, of a thread each
    bench.run()
    assert {bench.state(product) for product in ("a", "b")} == {"made"}
    assert not {pid for pid in early & children() if "resource_tracker" not in _command(pid)}


def _run_alone(folder: Path) -> None:
    Bench(folder, "processes").run()


def test_the_workers_of_a_killed_run_end_with_it(bench: Bench, tmp_path: Path) -> None:
    bench.originals.save({f"slow{number}": f"slow{number}" for number in range(20)})
    run = multiprocessing.get_context("spawn").Process(target=_run_alone, args=(tmp_path,))
    run.start()
    while not bench.attempts():
        assert run.is_alive()
        time.sleep(0.05)
    workers = [child for child in psutil.Process(run.pid).children() if child.is_running()]
    assert workers
    run.kill()
    run.join()
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_a_stopped_run_leaves_nobody_at_work(bench: Bench) -> None:
    bench.originals.save({f"slow{number}": f"slow{number}" for number in range(4)})
    chunks = cast(Any, bench.chunks())
    for chunk in chunks:
        bench.save(chunk)
        if chunk["records"]["records"]:
            break
    chunks.close()  # as when an error of Kedro's own ends the run
    begun = sum(bench.attempts().values())
    time.sleep(1.5)
    assert sum(bench.attempts().values()) == begun


def test_work_that_a_process_cannot_take_in_is_told(bench: Bench) -> None:
    with (
        pytest.raises(ImportError, match="No module named 'mpod_pipeline'"),
        Processes(1, cast(Any, Unknown()), StepProgress("copy", 1)) as workers,
    ):
        list(workers.submit(Task("mug", {}, 0)))
        list(workers.drain())


def test_a_process_does_not_run_the_users_script_again(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text("raise SystemExit('run again')\n")
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None, raising=False)
    bench.originals.save({"a": "a"})
    bench.run()
    assert bench.state("a") == "made"
    assert sys.modules["__main__"].__file__ == str(script)


def test_workers_have_a_core_each_and_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "cores", lambda: 8)

    def with_room_for(workers: float) -> int:
        memory = type("Memory", (), {"available": workers * processes.WORKER_BYTES})
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
        return worker_count(5)

    assert [with_room_for(room) for room in (100, 3.5, 0.2)] == [5, 3, 1]


def test_a_gpu_that_does_not_answer_after_an_error_is_the_workers_end(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken_work(*_: object) -> dict[str, Any]:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def failed() -> Outcome:
        return attempt(broken_work, Task("mug", {}, 0), lambda *_: None)

    assert failed().product == "mug"  # without a GPU, and with one that answers, the product's own failure
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert failed().product == "mug"

    def no_answer() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", no_answer)
    with pytest.raises(BrokenWorkerError, match="Start the run again"):
        failed()


def test_waiting_threads_do_not_spin_unless_the_user_says_so() -> None:
    """The package sets OpenMP's policy before PyTorch is loaded, in every process that it is part of."""
    assert {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME"} & os.environ.keys()


def _command(pid: int) -> str:
    try:
        return " ".join(psutil.Process(pid).cmdline())
    except psutil.NoSuchProcess:
        return ""
