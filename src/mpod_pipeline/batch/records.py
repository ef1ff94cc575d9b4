"""What is written down about each product and stage."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mpod_pipeline.batch.fingerprints import FileIdentity

State = Literal["made", "failed", "left out"]


class Record(BaseModel):
    """One product at one stage.

    made: the artifacts are on disk as `outputs` says. failed: `error` and `message` say why. left out: an
    earlier stage has nothing for it (any more); what was made before is still there and still vouched for
    by `outputs`. own_parameters: what the catalog said of the product in place of the stage's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: str
    stage: str
    state: State
    fingerprint: str
    inputs: dict[str, FileIdentity | None] = {}
    outputs: dict[str, FileIdentity] = {}
    seconds: float = 0.0
    attempt: int = 1
    run_id: str = ""
    finished: str = ""
    error: str = ""
    message: str = ""
    traceback_file: str = ""
    own_parameters: dict[str, float | str] = {}

    def to_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_record(records: Mapping[str, Callable[[], Any]], product: str) -> Record | None:
    """The product's record, or None if there is none that can be read: its work then counts as not done."""
    try:
        return Record.model_validate(records[product]())
    except (KeyError, OSError, ValidationError, ValueError):
        return None
