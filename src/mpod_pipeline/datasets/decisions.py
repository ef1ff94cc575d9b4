"""What people decided on the page: read by runs, written by `kedro review`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.publish.decisions import Decisions, read_decisions


class DecisionsTable(AbstractDataset[None, Decisions]):
    """A CSV file of decisions; none where there is no file."""

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata

    def load(self) -> Decisions:
        return read_decisions(self.path)

    def save(self, data: None) -> None:
        raise SetupError("Decisions are written by `kedro review` alone.")

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}
