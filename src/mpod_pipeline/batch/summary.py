"""What a run did, for people and for machines: stages in a table, who failed why, how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mpod_pipeline.batch.records import Record, now

_COLUMNS = ("products", "made", "skipped", "failed", "left_out", "seconds")
#: So many failures are told on the terminal; all are in the table of failures.
SHOWN = 20


@dataclass(frozen=True)
class FailedProduct:
    """What a summary keeps of a failure's record."""

    product: str
    stage: str
    error: str
    message: str


@dataclass
class RunSummary:
    """Gathered while a run goes on.

    max_failed_fraction: see `BatchParameters`. stages: each finished stage's counts and seconds. stopped_by:
    the error that ended the run early, as text.
    """

    run_id: str = ""
    max_failed_fraction: float = 1.0
    stages: dict[str, Mapping[str, float]] = field(default_factory=dict)
    failures: list[FailedProduct] = field(default_factory=list)
    started: str = field(default_factory=now)
    stopped_by: str = ""

    def note(self, record: Record) -> None:
        if record.state == "failed":
            failure = FailedProduct(record.product, record.stage, record.error, record.message)
            self.failures.append(failure)

    @property
    def failed_fraction(self) -> float:
        """The part of this run's products that failed in some stage."""
        products = max((counts["products"] for counts in self.stages.values()), default=0)
        return len({failure.product for failure in self.failures}) / products if products else 0.0

    @property
    def too_many_failed(self) -> bool:
        return self.failed_fraction > self.max_failed_fraction

    @property
    def verdict(self) -> str:
        """How the run ended: finished, too many failed, stopped."""
        if self.stopped_by:
            return "stopped"
        return "too many failed" if self.too_many_failed else "finished"

    def to_json(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "started": self.started,
            "ended": now(),
            "verdict": self.verdict,
            "stopped_by": self.stopped_by,
            "failed_fraction": self.failed_fraction,
            "stages": {stage: dict(counts) for stage, counts in self.stages.items()},
            "failures": [asdict(failure) for failure in self.failures],
        }

    def as_text(self) -> str:
        """A table of the stages, then a line for each of the first failures."""
        rows = [("stage", *(name.replace("_", " ") for name in _COLUMNS), "s/product", "GB/worker")]
        for stage, counts in self.stages.items():
            tried = counts["made"] + counts["failed"]
            each = f"{counts['seconds'] / tried:.1f}" if tried else "-"
            peak = f"{counts['peak_bytes'] / 1e9:.1f}" if tried else "-"
            rows.append((stage, *(_number(counts[name]) for name in _COLUMNS), each, peak))
        lines = list(table_lines(rows))
        for failure in self.failures[:SHOWN]:
            lines.append(f"failed: {failure.product} in {failure.stage}: {failure.message}")
        if len(self.failures) > SHOWN:
            lines.append(f"failed: {len(self.failures) - SHOWN} more")
        if self.stopped_by:
            lines.append(f"stopped: {self.stopped_by}")
        return "\n".join(lines)


def table_lines(rows: Sequence[tuple[str, ...]], texts: Iterable[int] = (0,)) -> Iterator[str]:
    """The rows with their columns aligned: those numbered in ``texts`` to the left, the others to the right."""
    left = set(texts)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _number(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
