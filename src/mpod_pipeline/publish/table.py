"""Which models are published for which target, and why others are not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mpod_pipeline.cutout.flags import TRANSPARENT
from mpod_pipeline.publish.decisions import Decision, Decisions


@dataclass(frozen=True)
class Row:
    """One model at one target. passed: whether the gate lets it through. published: whether it is in the folder of
    what is. reason: why not, in a clerk's words. file: its place within that folder.
    """

    product: str
    target: str
    passed: bool
    published: bool
    reason: str
    decision: str = ""
    checked_by: str = ""
    megabytes: float | None = None
    triangles: int | None = None
    file: str = ""


def rows_of(
    product: str,
    reports: Mapping[str, Mapping[str, Any]],
    failures: Mapping[str, str],
    decisions: Decisions,
    approved_only: bool,
    flags: str = "",
) -> Iterator[Row]:
    """reports: by target, what its gate wrote down. failures: by target, why its file could not be made. flags: what
    the method says of the product.
    """
    for target, reason in failures.items():
        yield Row(product, target, passed=False, published=False, reason=reason)
    for target, report in reports.items():
        decision = decisions.of(product, report["model"])
        wrong_with_it = [*report["wrong"], *_doubts(flags, decision)]
        wrong = [*wrong_with_it, *_objections(decision, approved_only)]
        yield Row(
            product,
            target,
            passed=not wrong_with_it,
            published=not wrong,
            reason=" ".join(wrong),
            decision=decision.decision if decision else "",
            checked_by=", ".join(report["checked_by"]),
            megabytes=round(report["bytes"] / 1e6, 3),
            triangles=report["triangles"],
            file=f"{target}/{product}{report['suffix']}" if not wrong else "",
        )


def _doubts(flags: str, decision: Decision | None) -> Iterable[str]:
    """What no check of the file can tell, and a person who looks at the model can."""
    if TRANSPARENT in flags.split("; ") and decision is None:
        return ["In its photo the product looks like glass or gauze, and the model is solid: look at it on the page."]
    return []


def _objections(decision: Decision | None, approved_only: bool) -> Iterable[str]:
    if decision and decision.decision == "rejected":
        return [f"Rejected{f' by {decision.who}' if decision.who else ''}: {decision.reason or 'without a reason'}."]
    return ["Nobody has approved this model yet."] if approved_only and decision is None else []
