"""What is written down about each product and step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from mpod_pipeline.batch.fingerprints import FileIdentity

State = Literal["made", "failed", "left out"]


class Record(BaseModel):
    """One product at one step.

    made: the artifacts are on disk as `outputs` says. failed: `error` and `message` say why. left out: an
    earlier step has nothing for it (any more); what was made before is still there and still vouched for
    by `outputs`. own_parameters: what the catalog said of the product in place of the step's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    product: str
    #: ``stage`` in records of before
    step: str = Field(validation_alias=AliasChoices("step", "stage"))
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
