"""What earlier runs left on disk, for nodes to compare with.

A Kedro node cannot read its own output. To know what is already done it gets this view, under a name of its
own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from mpod_pipeline.datasets.codecs import CODECS
from mpod_pipeline.datasets.partitions import Partitions, ProductPartitions


@dataclass(frozen=True)
class History:
    """folder: of the records. artifacts: by name in the catalog. checkpoints: folder of what work in progress keeps.
    run_id: the run that looks (not one of the earlier ones).
    """

    folder: Path
    artifacts: Mapping[str, Partitions]
    checkpoints: Path
    run_id: str = ""

    def records(self, stage: str) -> Partitions:
        """The stage's records, by product."""
        return Partitions(self.folder / stage, CODECS["json"])

    def knows(self, product: str) -> bool:
        """Whether any stage has a record of the product."""
        stages = self.folder.iterdir() if self.folder.is_dir() else ()
        return any(product in self.records(stage.name) for stage in stages)

    def tracebacks(self, stage: str) -> Partitions:
        """The tracebacks of the stage's failures, by product."""
        return Partitions(self.folder / stage, CODECS["traceback"])


class StageRecords(AbstractDataset[dict[str, dict[str, Any]], Partitions]):
    """What is written down about a stage and its products: one dataset, so that the graph shows the artifacts.

    Saved as a mapping of its parts, each from product to value, the summary from the stage to its counts. Loaded as the
    records. path: the folder of what all stages write down; beside ``records`` it has ``losses`` and ``summaries``.
    """

    def __init__(self, *, path: str, stage: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path) / "records" / stage
        self.metadata = metadata
        # The record comes after what it speaks of: a run may be killed in between.
        self._parts = {
            "losses": ProductPartitions(path=f"{path}/losses/{stage}", format="json"),
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

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class HistoryDataset(AbstractDataset[None, History]):
    """Records and artifacts of all stages, read only.

    path: the folder of records, with one folder a stage. artifacts: the catalog's own entries, by name.
    checkpoints: the folder of checkpoints, with one folder a stage.
    """

    def __init__(
        self,
        *,
        path: str,
        artifacts: dict[str, dict[str, Any]],
        checkpoints: str,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.path = Path(path)
        self.checkpoints = Path(checkpoints)
        self.metadata = metadata
        self._artifacts = {
            name: AbstractDataset.from_config(f"history of {name}", config)
            for name, config in artifacts.items()
        }

    def load(self) -> History:
        artifacts = {name: dataset.load() for name, dataset in self._artifacts.items()}
        return History(self.path, artifacts, self.checkpoints)

    def save(self, data: None) -> None:
        raise NotImplementedError("the history is written by the stages' own outputs")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path), "artifacts": list(self._artifacts)}
