"""Two Ray workers against one, on work that keeps a CPU busy.

python benchmarks/batch_ray.py [--products 12] [--seconds 2]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import ray

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch import BatchParameters, BatchStep, Report, run_step
from mpod_pipeline.datasets import History, ProductPartitions

STEP = BatchStep("count", artifacts=("counts",), code_version=1)


class Counter:
    """Work of so many seconds of a CPU's time, however busy the machine is."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, inputs: Mapping[str, Any], seed: int, report: Report, *others: Any) -> dict[str, Any]:
        started, count = process_time(), 0
        while process_time() - started < self.seconds:
            count += sum(range(1000))
        return {"counts": count > 0}


class Open:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self) -> Counter:
        return Counter(self.seconds)


def seconds_with(workers: int, products: int, seconds: float) -> float:
    """The step from its first task handed out to its last result saved, workers started before."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = ("originals", "counts", "records/count")
        data = {name: ProductPartitions(path=str(folder / name), format="json") for name in names}
        data["originals"].save({f"product-{number}": number for number in range(products)})
        batch = {"seed": 0, "max_failed_fraction": 1, "products": None, "force": False}
        executor = {"kind": "ray", "workers": workers}
        chunks = run_step(
            STEP,
            Open(seconds),
            inputs={"original": data["originals"].load()},
            parameters=Parameters(),
            batch=BatchParameters.model_validate({**batch, "checkpoint_every_seconds": None, "executor": executor}),
            history=History(folder / "records", {"counts": data["counts"].load()}, folder / "checkpoints"),
        )
        started, first = perf_counter(), 0.0
        for chunk in chunks:
            data["counts"].save(chunk["counts"])
            data["records/count"].save(chunk["records"]["records"])
            if chunk["records"]["records"] and not first:
                first = perf_counter() - started
        total = perf_counter() - started
    print(f"{workers} workers: {total:.1f} s, the first result after {first:.1f} s")
    return total - first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    one, two = (seconds_with(workers, arguments.products, arguments.seconds) for workers in (1, 2))
    print(f"after the first result: {one:.1f} s with 1 worker, {two:.1f} s with 2; {one / two:.2f} times as fast")


if __name__ == "__main__":
    main()
