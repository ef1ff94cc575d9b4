"""What is recorded of a step's products when their work ends, or when they go."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.batch.fingerprints import FileIdentity
from mpod_pipeline.batch.isolation import Failure, Outcome
from mpod_pipeline.batch.records import Record, now, read_record


def made(draft: Record, outcome: Outcome, outputs: Mapping[str, FileIdentity | None]) -> Record:
    """The record of a success, from its draft. outputs: its artifacts' identities.

    Raises SetupError where one is not on disk.
    """
    if missing := [name for name, identity in outputs.items() if identity is None]:
        raise SetupError(f"{', '.join(missing)} of {outcome.product} did not reach the disk; see the catalog.")
    update = {"state": "made", "outputs": outputs, "seconds": round(outcome.seconds, 3), "finished": now()}
    return draft.model_copy(update=update)


def failed(draft: Record, outcome: Outcome, failure: Failure) -> Record:
    """The record of a failure, from its draft. The traceback lies beside it."""
    update = {
        "error": failure.kind,
        "message": failure.message,
        "traceback_file": f"{outcome.product}.traceback.txt",
        "seconds": round(outcome.seconds, 3),
        "finished": now(),
    }
    return draft.model_copy(update=update)


def left_out(previous: Record | None, reason: str) -> Record | None:
    """The record of a product that a step has nothing to work on for; None where nothing has to be written."""
    if previous is None or previous.state == "left out":
        return None
    return previous.model_copy(update={"state": "left out", "error": "", "message": reason, "traceback_file": ""})


def gone(records: Mapping[str, Any], first: str, there: Collection[str]) -> Iterator[tuple[str, Record | None]]:
    """The products of earlier runs that the first input has no more, as their photos were taken out of the catalog. For
    each that went since the last run, its record to be changed.
    """
    for product in records:
        if product not in there:
            yield (product, left_out(read_record(records, product), f"its {first} is gone"))
