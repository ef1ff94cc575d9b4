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

#: Of a product at a stage. stale: made, and a run would make it again, for its input or a setting has changed since.
StageState = Literal["-", "at work", "made", "stale", "failed", "left out"]
#: Of a product. complete: made at every stage. unfinished: a run has more to make.
State = Literal["at work", "failed", "stale", "complete", "unfinished"]
#: Those that are counted even where there is none.
ALWAYS: tuple[State, ...] = ("complete", "failed", "unfinished")
SOMETIMES: tuple[State, ...] = ("stale", "at work")


@dataclass(frozen=True)
class StageView:
    """What is known of one stage. records: what reads each, by product. stale, at_work: the products that are so."""

    records: Mapping[str, Any]
    stale: Collection[str] = frozenset()
    at_work: Collection[str] = frozenset()


@dataclass(frozen=True)
class AtStage:
    """A product at a stage; what is told beside the state is of the last attempt."""

    state: StageState
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
    stages: dict[str, AtStage]


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
        """Where it looked; a row a product with its state and seconds at each stage, and its errors; then the sum."""
        yield f"photos:    {self.photos}"
        yield f"workspace: {self.workspace}"
        if self.run:
            yield f"at work:   {self.run}"
        yield from self.remarks
        yield ""
        stages = list(self.products[0].stages) if self.products else []
        rows = [("product", *(stage.replace("_", " ") for stage in stages), "cutout", "error")]
        several = any(len(product.photos) > 1 for product in self.products)
        for product in self._shown(only_failed):
            errors = "; ".join(_error(stage, at) for stage, at in product.stages.items() if at.state == "failed")
            name = f"{product.product} ({', '.join(product.photos)})" if several else product.product
            rows.append((name, *map(_cell, product.stages.values()), product.cutout, errors))
        yield from table_lines(rows, texts=(0, len(rows[0]) - 2, len(rows[0]) - 1))
        counts = ", ".join(f"{count} {state}" for state, count in self.counts.items())
        yield f"{number_of(len(self.products), 'product')}: {counts}"

    def _shown(self, only_failed: bool) -> Iterator[ProductStatus]:
        return (product for product in self.products if product.state == "failed" or not only_failed)


def product_statuses(
    photos: Any, stages: Mapping[str, StageView], cutout_checks: Mapping[str, Callable[[], Any]]
) -> Iterator[ProductStatus]:
    """Of every product of the catalog, in its order. photos: the catalog's, by product, which tell how it writes them.
    stages: in their order. cutout_checks: what reads them, by product.
    """
    for product in photos:
        at = {stage: _at_stage(view, product) for stage, view in stages.items()}
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


def _at_stage(view: StageView, product: str) -> AtStage:
    record: Record | None = read_record(view.records, product)
    if record is None:
        return AtStage("at work" if product in view.at_work else "-")
    state: StageState = record.state
    if product in view.at_work:
        state = "at work"
    elif state == "made" and product in view.stale:
        state = "stale"
    return AtStage(state, record.seconds, record.message, record.finished, record.attempt)


def _state(states: list[StageState]) -> State:
    for state in ("at work", "failed", "stale"):
        if state in states:
            return state
    return "complete" if all(state == "made" for state in states) else "unfinished"


def _cell(at: AtStage) -> str:
    return f"{at.state} {at.seconds:.1f} s" if at.state in ("made", "failed") else at.state


def _error(stage: str, failure: AtStage) -> str:
    attempts = f", attempt {failure.attempt}" if failure.attempt > 1 else ""
    return f"{stage}: {failure.message} ({failure.finished}{attempts})"
