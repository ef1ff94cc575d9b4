"""What is written down about a whole catalog, and what of it still holds: for people, as a table, and for programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from mpod_pipeline.base.text import number_of
from mpod_pipeline.batch.lock import Holder
from mpod_pipeline.batch.records import Record, read_record
from mpod_pipeline.batch.summary import table_lines
from mpod_pipeline.cutout.photo_file import FRONT

#: Of a product at a step. stale: made, and a run would make it again, for its input or a setting has changed since.
StepState = Literal["-", "at work", "made", "stale", "failed", "left out"]
#: Of a product. complete: made at every step. unfinished: a run has more to make.
State = Literal["at work", "failed", "stale", "complete", "unfinished"]
#: Those that are counted even where there is none.
ALWAYS: tuple[State, ...] = ("complete", "failed", "unfinished")
SOMETIMES: tuple[State, ...] = ("stale", "at work")


@dataclass(frozen=True)
class StepView:
    """What is known of one step. records: what reads each, by product. stale, at_work: the products that are so."""

    records: Mapping[str, Any]
    stale: Collection[str] = frozenset()
    at_work: Collection[str] = frozenset()


@dataclass(frozen=True)
class AtStep:
    """A product at a step; what is told beside the state is of the last attempt."""

    state: StepState
    seconds: float = 0.0
    message: str = ""
    finished: str = ""
    attempt: int = 0


@dataclass(frozen=True)
class ProductStatus:
    """id: what its files are called. product: as the catalog writes it. photos: which it has. cutout: how sure it is,
    and whether somebody should look at it.
    """

    id: str
    product: str
    state: State
    photos: list[str]
    cutout: str
    steps: dict[str, AtStep]


@dataclass(frozen=True)
class CatalogStatus:
    """photos, workspace: where they are. run: the one at work. gone: products of earlier runs that the catalog has no
    more.
    """

    photos: str
    workspace: str
    products: list[ProductStatus]
    run: Holder | None = None
    gone: int = 0
    remarks: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(product.state for product in self.products)
        some = [state for state in SOMETIMES if counted[state]]
        return {state: counted[state] for state in (*ALWAYS, *some)} | ({"gone": self.gone} if self.gone else {})

    def to_json(self, only_failed: bool = False) -> dict[str, Any]:
        return {
            "photos": self.photos,
            "workspace": self.workspace,
            "run": self.run.model_dump() if self.run else None,
            "counts": self.counts,
            "remarks": self.remarks,
            "products": [asdict(product) for product in self._shown(only_failed)],
        }

    def lines(self, only_failed: bool = False) -> Iterator[str]:
        """Where it looked; per product its state and seconds at each step, and its errors; then the sum."""
        yield f"photos:    {self.photos}"
        yield f"workspace: {self.workspace}"
        if self.run:
            yield f"at work:   {self.run}"
        yield from self.remarks
        yield ""
        steps = list(self.products[0].steps) if self.products else []
        rows = [("product", *(step.replace("_", " ") for step in steps), "cutout", "error")]
        several = any(len(product.photos) > 1 for product in self.products)
        for product in self._shown(only_failed):
            errors = "; ".join(_error(step, at) for step, at in product.steps.items() if at.state == "failed")
            name = f"{product.product} ({', '.join(product.photos)})" if several else product.product
            rows.append((name, *map(_cell, product.steps.values()), product.cutout, errors))
        yield from table_lines(rows, texts=(0, len(rows[0]) - 2, len(rows[0]) - 1))
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items())
        yield f"{number_of(len(self.products), 'product')}: {counts}"

    def _shown(self, only_failed: bool) -> Iterator[ProductStatus]:
        return (product for product in self.products if product.state == "failed" or not only_failed)


def product_statuses(
    photos: Any, steps: Mapping[str, StepView], cutout_checks: Mapping[str, Callable[[], Any]]
) -> Iterator[ProductStatus]:
    """Of every product of the catalog, in its order. photos: the catalog's, by product, which tell how it writes them.
    steps: in their order. cutout_checks: what reads them, by product.
    """
    for product in photos:
        at = {step: _at_step(view, product) for step, view in steps.items()}
        state = _state([each.state for each in at.values()])
        cutout = _cutout(product, cutout_checks)
        further = photos.further[product].photos if product in photos.further else ()
        names = [FRONT, *(photo.name for photo in further)]
        yield ProductStatus(product, photos.written_as(product), state, names, cutout, at)


def _cutout(product: str, checks: Mapping[str, Callable[[], Any]]) -> str:
    try:
        check = checks[product]()
        return f"{check['cutout_confidence']:.2f} {check['flags']}".rstrip()
    except (LookupError, OSError, TypeError, ValueError):  # not made yet, or a file in disorder
        return "-"


def _at_step(view: StepView, product: str) -> AtStep:
    record: Record | None = read_record(view.records, product)
    if record is None:
        return AtStep("at work" if product in view.at_work else "-")
    state: StepState = record.state
    if product in view.at_work:
        state = "at work"
    elif state == "made" and product in view.stale:
        state = "stale"
    return AtStep(state, record.seconds, record.message, record.finished, record.attempt)


def _state(states: list[StepState]) -> State:
    for state in ("at work", "failed", "stale"):
        if state in states:
            return state
    return "complete" if all(state == "made" for state in states) else "unfinished"


def _cell(at: AtStep) -> str:
    return f"{at.state} {at.seconds:.1f} s" if at.state in ("made", "failed") else at.state


def _error(step: str, failure: AtStep) -> str:
    attempts = f", attempt {failure.attempt}" if failure.attempt > 1 else ""
    return f"{step}: {failure.message} ({failure.finished}{attempts})"
