"""A folder of network weights: named in the catalog, opened by the stage that needs it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from mpod_pipeline.errors import SetupError


@dataclass(frozen=True)
class Weights:
    """A prior's folder, and the device to load it to. It is loaded once a worker, and only if some product needs it."""

    path: Path
    device: str


#: Writes a network's files into a folder.
WriteWeights = Callable[[Path], None]


class WeightsFolder(AbstractDataset[WriteWeights, Weights]):
    """A folder in diffusers' format. device: where the network is to be, as PyTorch names it.

    Raises SetupError if the folder does not exist.
    """

    def __init__(self, *, path: str, device: str = "cpu", metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.device = device
        self.metadata = metadata

    def load(self) -> Weights:
        if not self._exists():
            raise SetupError(
                f"There are no weights at {self.path}; `kedro run --pipeline=train_priors` makes them."
            )
        return Weights(self.path, self.device)

    def save(self, data: WriteWeights) -> None:
        """Let ``data`` write the files aside; then they take the old ones' place."""
        self._exists()
        shutil.rmtree(self._aside("new"), ignore_errors=True)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        data(self._aside("new"))
        if self.path.exists():
            self.path.rename(self._aside("old"))
        self._aside("new").rename(self.path)
        shutil.rmtree(self._aside("old"), ignore_errors=True)

    def _aside(self, kind: str) -> Path:
        return self.path.with_name(f".{self.path.name}.{kind}")

    def _exists(self) -> bool:
        if self._aside("old").is_dir():  # a save was killed before or after the new files took their place
            if self.path.is_dir():
                shutil.rmtree(self._aside("old"))
            else:
                self._aside("old").rename(self.path)
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path), "device": self.device}
