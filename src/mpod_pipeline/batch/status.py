"""What is written down about a whole catalog, as a table for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from mpod_pipeline.batch.records import Record, read_record
from mpod_pipeline.batch.summary import table_lines


def status_lines(
    photos: Mapping[str, Any],
    records: Mapping[str, Mapping[str, Any]],
    cutout_checks: Mapping[str, Callable[[], Any]],
    only_failed: bool = False,
) -> Iterator[str]:
    """A row a product of the catalog, with its state and seconds at each stage, how sure its cutout is, and its error;
    then the sum.

    Tells what the last runs wrote down; whether a photo or a parameter has changed since then, the next run
    finds out. records: of each stage in its order, what reads them by product; cutout_checks, too.
    only_failed: no rows for the others.
    """
    rows = [("product", *(stage.replace("_", " ") for stage in records), "cutout", "error")]
    states: Counter[str] = Counter()
    for product in photos:
        known = [read_record(of_stage, product) for of_stage in records.values()]
        failures = [record for record in known if record and record.state == "failed"]
        states[_state(known, failures)] += 1
        if failures or not only_failed:
            errors = "; ".join(map(_error, failures))
            rows.append((product, *map(_cell, known), _cutout(product, cutout_checks), errors))
    yield from table_lines(rows, texts=(0, len(rows[0]) - 2, len(rows[0]) - 1))
    counts = ", ".join(f"{states[state]} {state}" for state in ("complete", "failed", "unfinished"))
    yield f"{len(photos)} products: {counts}"


def _state(records: Sequence[Record | None], failures: Sequence[Record]) -> str:
    if failures:
        return "failed"
    return "complete" if all(record and record.state == "made" for record in records) else "unfinished"


def _cell(record: Record | None) -> str:
    if record is None:
        return "-"
    return "left out" if record.state == "left out" else f"{record.state} {record.seconds:.1f} s"


def _cutout(product: str, checks: Mapping[str, Callable[[], Any]]) -> str:
    """How sure the cutout is, and whether somebody should look at it."""
    try:
        check = checks[product]()
        return f"{check['cutout_confidence']:.2f} {check['flags']}".rstrip()
    except (LookupError, OSError, TypeError, ValueError):  # not made yet, or a file in disorder
        return "-"


def _error(failure: Record) -> str:
    attempts = f", attempt {failure.attempt}" if failure.attempt > 1 else ""
    return f"{failure.stage}: {failure.message} ({failure.finished}{attempts})"
