"""What is written down about each product and step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.batch.fingerprints import FileIdentity
from mpod_pipeline.batch.isolation import Failure, Outcome

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

    def made(self, outcome: Outcome, outputs: Mapping[str, FileIdentity | None]) -> Record:
        """The record of a success, from its draft. outputs: its artifacts' identities.

        Raises SetupError where one is not on disk.
        """
        if missing := [name for name, identity in outputs.items() if identity is None]:
            raise SetupError(f"{', '.join(missing)} of {outcome.product} did not reach the disk; see the catalog.")
        return self._ended(outcome, state="made", outputs=outputs)

    def failed(self, outcome: Outcome, failure: Failure) -> Record:
        """The record of a failure, from its draft. The traceback lies beside it."""
        traceback_file = f"{outcome.product}.traceback.txt"
        return self._ended(outcome, error=failure.kind, message=failure.message, traceback_file=traceback_file)

    def _ended(self, outcome: Outcome, **update: Any) -> Record:
        return self.model_copy(update={**update, "seconds": round(outcome.seconds, 3), "finished": now()})

    def left_out(self, reason: str) -> Record | None:
        """The record of a product that a step has nothing to work on for; None where nothing has to be written."""
        if self.state == "left out":
            return None
        return self.model_copy(update={"state": "left out", "error": "", "message": reason, "traceback_file": ""})

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


def gone(records: Mapping[str, Any], first: str, there: Collection[str]) -> Iterator[tuple[str, Record | None]]:
    """The products of earlier runs that the first input has no more, as their photos were taken out of the catalog. For
    each that went since the last run, its record to be changed.
    """
    for product in records:
        if product not in there:
            record = read_record(records, product)
            yield product, record and record.left_out(f"its {first} is gone")
