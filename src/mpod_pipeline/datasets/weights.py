"""A folder of network weights: named in the catalog, opened by the stage that needs it."""

from __future__ import annotations

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


class WeightsFolder(AbstractDataset[None, Weights]):
    """A folder in diffusers' format. device: where the network is to be, as PyTorch names it.

    Raises SetupError if the folder does not exist.
    """

    def __init__(self, *, path: str, device: str = "cpu", metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.device = device
        self.metadata = metadata

    def load(self) -> Weights:
        if not self.path.is_dir():
            raise SetupError(
                f"There are no weights at {self.path}; `kedro run --pipeline=train_priors` makes them."
            )
        return Weights(self.path, self.device)

    def save(self, data: None) -> None:
        raise NotImplementedError("weights are written by their training")

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path), "device": self.device}
