"""A stage whose work other processes do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mpod_pipeline.batch import BatchParameters, Stage, run_stage
from mpod_pipeline.datasets import History, ProductPartitions
from mpod_pipeline.parameters import Parameters
from tests.batch.worker_toy import open_work

STAGE = Stage("copy", artifacts=("copies",), code_version=1, has_losses=True)


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
        return run_stage(
            STAGE,
            partial(open_work, self.diary),
            inputs={"original": self.originals.load()},
            parameters=Parameters(),
            batch=batch,
            history=self.history,
        )

    def save(self, chunk: dict[str, Any]) -> None:
        self.copies.save(chunk["copies"])
        self.losses.save(chunk["losses"])
        self.records.save(chunk["records"])
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
        return max(
            (path.name for path in self.diary.glob("did-*")), key=lambda name: int(name.rsplit("-", 1)[1])
        )
