"""What people decided about models: a table that grows, one row a decision, the last one of a model counts.

A decision belongs to a model, known by the SHA-256 of its GLB. A model that was made anew is another one, and to be
looked at again.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Literal, get_args

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.text import harmless, readable, without_mark

Verdict = Literal["approved", "rejected"]


def model_hash(glb: bytes) -> str:
    return sha256(glb).hexdigest()


@dataclass(frozen=True)
class Decision:
    """product: its id. model: the hash of what was looked at. when: UTC, ISO 8601."""

    product: str
    model: str
    decision: Verdict
    reason: str = ""
    who: str = ""
    when: str = field(default_factory=lambda: datetime.now(timezone.utc).isoformat(timespec="seconds"))


COLUMNS = tuple(each.name for each in fields(Decision))


class Decisions:
    """All decisions, in their order."""

    def __init__(self, decisions: Iterable[Decision] = ()) -> None:
        self._all: dict[str, list[Decision]] = {}
        for decision in decisions:
            self._all.setdefault(decision.product, []).append(decision)

    def __iter__(self) -> Iterator[Decision]:
        return (decision for decisions in self._all.values() for decision in decisions)

    def of(self, product: str, model: str) -> Decision | None:
        """The last one on this very model."""
        return next((each for each in reversed(self.history(product)) if each.model == model), None)

    def history(self, product: str) -> list[Decision]:
        return self._all.get(product, [])


def read_decisions(path: Path) -> Decisions:
    """Those in the file; none where there is no file. Raises SetupError for a file that is no such table."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return Decisions()
    except (OSError, UnicodeDecodeError) as error:
        raise SetupError(f"The decisions {path} cannot be read: {error}.") from error
    return Decisions(_rows(text, str(path)))


def _rows(text: str, source: str) -> Iterator[Decision]:
    """A table's rows; source: where it lies, for errors."""
    if not text:
        return
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
        raise SetupError(f"{source} has no column {' and no column '.join(missing)}; its first row must name them.")
    yield from (_decision(source, row) for row in rows)


def _decision(source: str, row: Mapping[str, str | None]) -> Decision:
    cells = {name: without_mark(row[name] or "") for name in COLUMNS}
    if cells["decision"] not in get_args(Verdict):
        raise SetupError(
            f"{source} says {cells['decision']!r} of {readable(cells['product'])}: a decision is approved or rejected."
        )
    return Decision(**cells)  # type: ignore[arg-type]


def merged(text: str, other: str, source: str) -> str:
    """Two tables that have grown apart, such as on two machines, in one: each row once, in the order of its time.

    Raises SetupError where one is no such table.
    """
    rows = dict.fromkeys([*_rows(text, source), *_rows(other, source)])
    if not rows:
        return ""
    stream = io.StringIO(newline="")
    cells = csv.writer(stream, lineterminator="\n")
    cells.writerow(COLUMNS)
    cells.writerows(_cells(row) for row in sorted(rows, key=lambda row: row.when))
    return stream.getvalue()


def add_decision(path: Path, decision: Decision) -> None:
    """Write it at the end of the file; several processes may do so at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = io.StringIO(newline="")
    cells = csv.writer(stream, lineterminator="\n")
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.fstat(descriptor).st_size == 0:
            cells.writerow(COLUMNS)
        cells.writerow(_cells(decision))
        os.write(descriptor, stream.getvalue().encode("utf-8", errors="backslashreplace"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _cells(decision: Decision) -> Iterator[str]:
    return map(harmless, asdict(decision).values())
