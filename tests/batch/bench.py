"""A step whose work other processes do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch import BatchParameters, BatchStep, run_step
from mpod_pipeline.datasets import History, ProductPartitions
from tests.batch.worker_toy import open_work

STEP = BatchStep("copy", artifacts=("copies",), code_version=1)


class Bench:
    """A catalog of texts, copied by the workers and saved here."""

    def __init__(self, folder: Path, executor: str) -> None:
        self._executor = {"kind": executor}
        self.originals = ProductPartitions(path=str(folder / "originals"), format="json")
        self.copies = ProductPartitions(path=str(folder / "copies"), format="json")
        self.records = ProductPartitions(path=str(folder / "records/copy"), format="json")
        self.losses = ProductPartitions(path=str(folder / "losses"), format="json")
        history = History(folder / "records", {"copies": self.copies.load()}, folder / "checkpoints")
        self.history = history
        self.diary = folder / "diary"
        self.diary.mkdir(exist_ok=True)
        self.saved: Counter[str] = Counter()

    def chunks(self, **settings: Any) -> Iterator[dict[str, Any]]:
        batch = BatchParameters.model_validate(
            {
                "seed": 0,
                "max_failed_fraction": 1,
                "products": None,
                "force": False,
                "checkpoint_every_seconds": None,
                "executor": self._executor,
                **settings,
            }
        )
        return run_step(
            STEP,
            partial(open_work, self.diary),
            inputs={"original": self.originals.load()},
            parameters=Parameters(),
            batch=batch,
            history=self.history,
        )

    def save(self, chunk: dict[str, Any]) -> None:
        self.copies.save(chunk["copies"])
        self.losses.save(chunk["records"]["losses"])
        self.records.save(chunk["records"]["records"])
        self.saved.update(list(chunk["copies"]))

    def run(self, **settings: Any) -> None:
        for chunk in self.chunks(**settings):
            self.save(chunk)

    def state(self, product: str) -> str:
        records = self.records.load()
        return str(records[product]()["state"]) if product in records else "none"

    def attempts(self) -> Counter[str]:
        return Counter(path.name.split("-")[1] for path in self.diary.glob("did-*"))

    def newest_attempt(self) -> str:
        """``did-product-node-time`` of the one that began last."""
        return max((path.name for path in self.diary.glob("did-*")), key=lambda name: int(name.rsplit("-", 1)[1]))


class ExecutorPromises:
    """What every executor with workers in other processes promises; with a fixture ``bench`` of two workers."""

    def test_products_are_made_once_with_models_opened_once_per_worker(self, bench: Bench) -> None:
        texts = [f"slow{number}" if number < 2 else f"text{number}" for number in range(8)]
        bench.originals.save({text: text for text in texts})
        bench.run()
        assert bench.saved == Counter(texts) == bench.attempts()
        assert len(list(bench.diary.glob("opened-*"))) == 2
        assert bench.losses.load()["text5"]() == {"loss": [[1, 2.0], [2, 1.0]]}
        by_workers = {product: read() for product, read in bench.copies.load().items()}
        bench.run(executor={"kind": "in_process"})  # who did the work is not part of the fingerprint
        assert bench.saved == Counter(texts)
        bench.run(executor={"kind": "in_process"}, force=True)
        assert {product: read() for product, read in bench.copies.load().items()} == by_workers

    def test_a_failing_product_and_one_that_kills_its_worker_are_failures_of_their_own(self, bench: Bench) -> None:
        bench.originals.save({"bad": "unusable", "killer": "killer", "mug": "mug", "shoe": "shoe"})
        bench.run()
        states = {product: bench.state(product) for product in ("bad", "killer", "mug", "shoe")}
        assert states == {"bad": "failed", "killer": "failed", "mug": "made", "shoe": "made"}
        record = bench.records.load()["killer"]()
        assert (record["error"], bench.attempts()["killer"]) == ("WorkerDied", 2)
        assert bench.records.load()["bad"]()["message"] == "It is unusable."

    @pytest.mark.parametrize(("text", "error"), [("misconfigured", SetupError), ("bug", TypeError)])
    def test_what_concerns_the_whole_run_stops_it(self, bench: Bench, text: str, error: type[Exception]) -> None:
        bench.originals.save({"a": "a", "b": "b", "c": "c", "d": "d", "last": text})
        with pytest.raises(error, match="There are no weights" if error is SetupError else "a bug"):
            bench.run()
        assert bench.state("last") == "none"
        # two are under way at most, so three were finished before, and are safe
        assert sum(bench.state(product) == "made" for product in "abcd") >= 3

    def test_few_results_are_under_way_while_nobody_takes_them(self, bench: Bench) -> None:
        bench.originals.save({f"text{number}": f"text{number}" for number in range(12)})
        chunks = bench.chunks()
        for chunk in chunks:
            bench.save(chunk)
            if chunk["records"]["records"]:
                break
        time.sleep(1.0)
        assert sum(bench.attempts().values()) <= 1 + 2 + 1  # the saved one, one per worker, and one just handed out
        for chunk in chunks:
            bench.save(chunk)
        assert sum(bench.saved.values()) == 12
