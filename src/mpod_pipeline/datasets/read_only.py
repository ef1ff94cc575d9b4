"""The base of datasets that runs only read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, TypeVar

from kedro.io import AbstractDataset

from mpod_pipeline.base.errors import SetupError

Read = TypeVar("Read")


class ReadOnly(AbstractDataset[None, Read]):
    """What lies at a path. WHAT: its name, for who would write it."""

    WHAT: ClassVar[str]

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.metadata = metadata

    def save(self, data: None) -> None:
        raise SetupError(f"{self.WHAT} is only read.")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}
