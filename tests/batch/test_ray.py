"""Steps done by Ray's workers, on a real cluster of two nodes in this machine."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.batch.isolation import Failure, Task
from mpod_pipeline.batch.parameters import ExecutorParameters, Resources
from mpod_pipeline.batch.progress import StepProgress
from mpod_pipeline.datasets.photos import Photo
from tests.batch.bench import Bench, ExecutorPromises
from tests.batch.worker_toy import Unknown, open_work

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402
from ray.exceptions import OutOfMemoryError  # noqa: E402

from mpod_pipeline.batch.ray_workers import DIED, RayWorkers  # noqa: E402

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU each, and this process as their driver (on a head without CPUs)."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = str(ROOT)  # the workers import this package's work
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def bench(cluster: Any, tmp_path: Path) -> Bench:
    return Bench(tmp_path, "ray")


class TestPromises(ExecutorPromises):
    """By Ray."""


def test_workers_that_never_start_end_the_run(cluster: Any, tmp_path: Path) -> None:
    workers = RayWorkers(ExecutorParameters(kind="ray"), Resources(), cast(Any, Unknown()), StepProgress("copy", 1))
    with pytest.raises(SetupError, match=r"(?s)No Ray worker starts.*No module named 'mpod_pipeline'"), workers:
        list(workers.submit(Task("mug", {}, 0)))
        list(workers.drain())


def test_workers_work_in_the_runs_own_folder(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench.originals.save({"where": "where"})
    bench.run()
    assert bench.copies.load()["where"]()[0] == str(tmp_path)


def test_an_input_that_cannot_be_looked_at_is_its_products_failure(bench: Bench, tmp_path: Path) -> None:
    workers = RayWorkers(
        ExecutorParameters(kind="ray"), Resources(), partial(open_work, bench.diary), StepProgress("copy", 1)
    )
    photo = Photo(tmp_path / f"{'c' * 300}.jpg")
    with workers:
        outcomes = [*workers.submit(Task("mug", {"original": photo}, 0)), *workers.drain()]
    (failure,) = (outcome.result for outcome in outcomes)
    assert isinstance(failure, Failure) and failure.kind == "ProductError"


def test_a_worker_ended_for_its_machines_memory_is_a_worker_that_died() -> None:
    assert issubclass(OutOfMemoryError, DIED)


def test_a_wish_that_no_machine_can_fulfil_is_told_before_any_work(bench: Bench) -> None:
    bench.originals.save({"a": "a"})
    with pytest.raises(SetupError, match="1 CPUs and 1 GPUs"):
        bench.run(resources={"copy": {"num_gpus": 1}})
    assert not bench.attempts()


def test_a_node_that_goes_away_loses_no_product(bench: Bench, cluster: Any) -> None:
    """The last test: it takes one of the cluster's nodes away."""
    products = [f"slow{number}" for number in range(8)]
    bench.originals.save({product: product for product in products})
    nodes = {node.node_id: node for node in cluster.worker_nodes}
    gone = False
    for chunk in bench.chunks():
        bench.save(chunk)
        if chunk["records"]["records"] and not gone:
            # the worker whose result this is has its next task already: whoever began last is in the middle of one
            end = time.monotonic() + 60
            while (begun := bench.newest_attempt()).split("-")[1] in bench.saved and time.monotonic() < end:
                time.sleep(0.01)
            cluster.remove_node(nodes[begun.split("-")[2]], allow_graceful=False)
            gone = True
    assert gone
    assert {bench.state(product) for product in products} == {"made"}
    assert bench.saved == Counter(products)
    assert sum(bench.attempts().values()) > len(products)  # some work was under way there, and was done again


def test_without_a_cluster_the_run_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    from mpod_pipeline.batch import ray_workers

    monkeypatch.setattr(ray_workers.ray, "is_initialized", lambda: False)

    def refused(**options: Any) -> None:
        raise ConnectionError("nobody there")

    monkeypatch.setattr(ray_workers.ray, "init", refused)
    chosen = ExecutorParameters(kind="ray", address="host:6379")
    with pytest.raises(SetupError, match="address=host:6379: nobody there"):
        ray_workers.RayWorkers(chosen, Resources(), partial(open_work, Path()), None)  # type: ignore[arg-type]
