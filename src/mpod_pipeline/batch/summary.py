"""What a run did, for people and for machines: steps in a table, who failed why, how it ended."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.cells import cell_len

from mpod_pipeline.base.text import readable
from mpod_pipeline.batch.progress import in_words
from mpod_pipeline.batch.records import Record, now

_COLUMNS = ("products", "made", "skipped", "failed", "left_out", "gone", "seconds")
#: What is told of a failure.
TOLD = {"product", "step", "error", "message"}
#: So many failures are told on the terminal; all are in the table of failures.
SHOWN = 20
#: What the names of stage 1's scores begin with.
STAGE_1 = "outline_"


@dataclass
class RunSummary:
    """Gathered while a run goes on.

    max_failed_fraction: see `BatchParameters`. steps: each finished step's counts and seconds. mean_scores: of all
    products whose evaluation stands, if the run evaluated. stopped_by: the error that ended the run early, as text.
    """

    run_id: str = ""
    max_failed_fraction: float = 1.0
    steps: dict[str, Mapping[str, float]] = field(default_factory=dict)
    failures: list[Record] = field(default_factory=list)
    mean_scores: Mapping[str, float] = field(default_factory=dict)
    started: str = field(default_factory=now)
    stopped_by: str = ""

    def note(self, record: Record) -> None:
        if record.state == "failed":
            self.failures.append(record)

    @property
    def failed_fraction(self) -> float:
        """The part of this run's products that failed in some step."""
        products = max((counts["products"] for counts in self.steps.values()), default=0)
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
            "steps": {step: dict(counts) for step, counts in self.steps.items()},
            "failures": [failure.model_dump(include=TOLD) for failure in self.failures],
            "mean_scores": dict(self.mean_scores),
        }

    def as_text(self) -> str:
        """A table of the steps that had work or lost products; a line for each of the first failures; mean scores."""
        rows = [("step", *(name.replace("_", " ") for name in _COLUMNS), "s/product", "GB/worker")]
        for step, counts in self.steps.items():
            tried = counts["made"] + counts["failed"]
            each = f"{counts['seconds'] / tried:.1f}" if tried else "-"
            peak = f"{counts['peak_bytes'] / 1e9:.1f}" if tried else "-"
            if tried or counts["gone"]:
                rows.append((step, *(_number(counts[name]) for name in _COLUMNS), each, peak))
        lines = list(table_lines(rows)) if len(rows) > 1 else ["No product had to be made."]
        for failure in self.failures[:SHOWN]:
            lines.append(f"failed: {failure.product} in {failure.step}: {failure.message}")
        if len(self.failures) > SHOWN:
            lines.append(f"failed: {len(self.failures) - SHOWN} more")
        means = {name: mean for name, mean in self.mean_scores.items() if not name.startswith("seconds_")}
        if means:
            lines += ["", *score_lines(means)]
        if self.stopped_by:
            lines.append(f"stopped: {self.stopped_by}")
        return "\n".join(lines)


def score_lines(means: Mapping[str, float]) -> Iterator[str]:
    """Mean scores, one a row, those of stage 1 beside those of stage 2 by the same name."""
    rows = [("mean score", "model", "stage 1")]
    for name in dict.fromkeys(name.removeprefix(STAGE_1) for name in means):
        model, stage_1 = (f"{means[each]:.4g}" if each in means else "" for each in (name, STAGE_1 + name))
        rows.append((name, model, stage_1))
    yield from table_lines(rows)


def in_a_line(counts: Mapping[str, float]) -> str:
    """A step's counts, those that are not nought, and its time."""
    told = (f"{counts[name]} {name.replace('_', ' ')}" for name in _COLUMNS[1:-1] if counts[name])
    of = f"{counts['products']} product{'' if counts['products'] == 1 else 's'}"
    return ", ".join([of, *told, in_words(counts["seconds"])])


def table_lines(rows: Sequence[tuple[str, ...]], texts: Iterable[int] = (0,)) -> Iterator[str]:
    """The rows with their columns aligned as a terminal shows them, where some letters are two columns wide.

    Columns that are numbered in ``texts`` are aligned to the left, the others to the right.
    """
    left = set(texts)
    rows = [tuple(map(readable, row)) for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        spaces = (" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        cells = (
            cell + space if index in left else space + cell
            for index, (cell, space) in enumerate(zip(row, spaces, strict=True))
        )
        yield "  ".join(cells).rstrip()


def _number(value: float) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
