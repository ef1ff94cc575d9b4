"""What datasets have in common: they lie at a place on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

from kedro.io import AbstractDataset

from mpod_pipeline.base.errors import SetupError

Saved = TypeVar("Saved")
Read = TypeVar("Read")


class AtPath(AbstractDataset[Saved, Read]):
    """What lies at a path. metadata: for Kedro-Viz."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.metadata = metadata

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class ReadOnly(AtPath[None, Read]):
    """What runs only read. WHAT: its name, for who would write it."""

    WHAT: ClassVar[str]

    def save(self, data: None) -> None:
        raise SetupError(f"{self.WHAT} is only read.")
