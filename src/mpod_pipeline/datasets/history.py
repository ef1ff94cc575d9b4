"""What earlier runs left on disk, for nodes to compare with.

A Kedro node cannot read its own output. To know what is already done it gets this view, under a name of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import CatalogProtocol

from mpod_pipeline.datasets.codecs import CODECS
from mpod_pipeline.datasets.partitions import Partitions, ProductPartitions
from mpod_pipeline.datasets.place import AtPath


@dataclass(frozen=True)
class History:
    """folder: of the records. artifacts: by name in the catalog. checkpoints: folder of what work in progress keeps.
    run_id: the run that looks (not one of the earlier ones).
    """

    folder: Path
    artifacts: Mapping[str, Partitions]
    checkpoints: Path
    run_id: str = ""

    def records(self, step: str) -> Partitions:
        """The step's records, by product."""
        return Partitions(self.folder / step, CODECS["json"])

    def knows(self, product: str) -> bool:
        """Whether any step has a record of the product."""
        steps = self.folder.iterdir() if self.folder.is_dir() else ()
        return any(product in self.records(step.name) for step in steps)

    def tracebacks(self, step: str) -> Partitions:
        """The tracebacks of the step's failures, by product."""
        return Partitions(self.folder / step, CODECS["traceback"])


class StepRecords(AtPath[dict[str, dict[str, Any]], Partitions]):
    """What is written down about a step and its products: one dataset, so that the graph shows the artifacts.

    Saved as a mapping of its parts, each from product to value, the summary from the step to its counts. Loaded as the
    records. path: the folder of what all steps write down; beside ``records`` it has ``losses`` and ``summaries``.
    """

    def __init__(self, *, path: str, step: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=f"{path}/records/{step}", metadata=metadata)
        # The record comes after what it speaks of: a run may be killed in between.
        self._parts = {
            "losses": ProductPartitions(path=f"{path}/losses/{step}", format="json"),
            "tracebacks": ProductPartitions(path=str(self.path), format="traceback"),
            "records": ProductPartitions(path=str(self.path), format="json"),
            "summary": ProductPartitions(path=f"{path}/summaries", format="json"),
        }

    def load(self) -> Partitions:
        return self._parts["records"].load()

    def save(self, data: dict[str, dict[str, Any]]) -> None:
        for name, dataset in self._parts.items():
            dataset.save(data[name])

    def _exists(self) -> bool:
        return self._parts["records"].exists()


class HistoryDataset(AtPath[None, History]):
    """Records and artifacts of all steps, read only.

    path: the folder of records, with one folder per step. checkpoints: the folder of checkpoints, likewise. The
    artifacts are the catalog's own entries: whoever makes the catalog sets ``catalog``. namespace: what their names in
    the catalog begin with, before a point.
    """

    catalog: CatalogProtocol

    def __init__(
        self, *, path: str, checkpoints: str, namespace: str = "", metadata: dict[str, Any] | None = None
    ) -> None:
        super().__init__(path=path, metadata=metadata)
        self.checkpoints = Path(checkpoints)
        self._prefix = f"{namespace}." if namespace else ""

    def load(self) -> History:
        return History(self.path, _Artifacts(self.catalog, self._prefix), self.checkpoints)

    def save(self, data: None) -> None:
        raise NotImplementedError("the history is written by the steps' own outputs")


class _Artifacts(Mapping[str, Partitions]):
    """What a catalog's entries of artifacts hold, by their names behind a prefix."""

    def __init__(self, catalog: CatalogProtocol, prefix: str) -> None:
        self._catalog, self._prefix = catalog, prefix

    def __getitem__(self, name: str) -> Partitions:
        dataset = self._catalog.get(f"{self._prefix}{name}")
        if not isinstance(dataset, ProductPartitions):
            raise KeyError(name)
        return dataset.load()

    def __iter__(self) -> Iterator[str]:
        held = (name for name in self._catalog if isinstance(self._catalog.get(name), ProductPartitions))
        return (name.removeprefix(self._prefix) for name in held if name.startswith(self._prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)


#: The catalog's name of what stages compare with; in a namespace, behind its name and a point.
HISTORY = "history"


def is_history(name: str) -> bool:
    return name.rpartition(".")[2] == HISTORY


def connect_history(catalog: CatalogProtocol, name: str = HISTORY) -> None:
    """Let the catalog's history, where it has one, see the catalog's artifacts."""
    history = catalog.get(name) if name in catalog else None
    if isinstance(history, HistoryDataset):
        history.catalog = catalog
