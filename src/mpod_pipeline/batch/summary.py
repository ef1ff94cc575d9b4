"""What a run did, for people: stages in a table, and who failed why."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from mpod_pipeline.batch.records import Record

_COLUMNS = ("products", "made", "skipped", "failed", "left_out", "seconds")


@dataclass
class RunSummary:
    """Gathered while a run goes on. stages: each finished stage's counts and seconds. failures: by stage
    and product.
    """

    stages: dict[str, Mapping[str, float]] = field(default_factory=dict)
    failures: list[Record] = field(default_factory=list)

    def note(self, record: Record) -> None:
        if record.state == "failed":
            self.failures.append(record)

    @property
    def failed_fraction(self) -> float:
        """The part of this run's products that failed in some stage."""
        products = max((counts["products"] for counts in self.stages.values()), default=0)
        return len({record.product for record in self.failures}) / products if products else 0.0

    def as_text(self) -> str:
        """A table of the stages, then a line for each failure."""
        rows = [("stage", *(name.replace("_", " ") for name in _COLUMNS), "s/product")]
        for stage, counts in self.stages.items():
            tried = counts["made"] + counts["failed"]
            each = f"{counts['seconds'] / tried:.1f}" if tried else "-"
            rows.append((stage, *(_number(counts[name]) for name in _COLUMNS), each))
        lines = [_line(row, rows) for row in rows]
        for record in self.failures:
            lines.append(f"failed: {record.product} in {record.stage}: {record.message}")
        return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _line(row: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    first, *others = (
        cell.ljust(width) if not index else cell.rjust(width)
        for index, (cell, width) in enumerate(zip(row, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()
