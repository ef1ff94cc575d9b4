"""A step and a workspace, as the batch sees them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class BatchStep:
    """A step, as far as the batch has to know it.

    artifacts: what it makes, by name in the catalog. code_version: to be raised when a change of the code changes what
    the step makes, so that it is made again. made_by: for each input that a step made, that step. optional: inputs that
    a product may lack.
    """

    name: str
    artifacts: tuple[str, ...]
    code_version: int
    made_by: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs of the step's node: the artifacts, and what is written down about them."""
        return (*self.artifacts, "records")


class History(Protocol):
    """What is on disk: a folder of records, each step's records by product, the artifacts by name, and a folder of
    checkpoints.

    Records and artifacts are mappings from a product to a function that reads it. Artifacts know the ``path`` of a
    product.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def artifacts(self) -> Mapping[str, Any]: ...

    @property
    def checkpoints(self) -> Path: ...

    @property
    def run_id(self) -> str: ...

    def records(self, step: str) -> Any: ...

    def knows(self, product: str) -> bool: ...
