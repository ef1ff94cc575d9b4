"""One step for all products of the catalog."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.base.stopping import stop_if_told, stopped_run
from mpod_pipeline.base.text import some
from mpod_pipeline.batch.declared import BatchStep, History
from mpod_pipeline.batch.due import Due, Settings, Settled, Todo
from mpod_pipeline.batch.executor import Executor, make_executor
from mpod_pipeline.batch.existing import Existing
from mpod_pipeline.batch.isolation import WORKER_DIED, Failure, Outcome, Work
from mpod_pipeline.batch.parameters import BatchParameters
from mpod_pipeline.batch.progress import StepProgress
from mpod_pipeline.batch.records import gone
from mpod_pipeline.batch.under_way import UnderWay

logger = logging.getLogger(__name__)

#: The parts of a step's output ``records``: by product loss curves, tracebacks and records (see `Record`); and at the
#: end, by step, the counts and seconds.
WRITTEN_DOWN = ("losses", "tracebacks", "records", "summary")


_SEEN: ContextVar[set[str] | None] = ContextVar("seen", default=None)


@contextmanager
def looking() -> Iterator[set[str]]:
    """Within it, `run_step` makes nothing and writes nothing down: what it would make is put into the set."""
    seen: set[str] = set()
    before = _SEEN.set(seen)
    try:
        yield seen
    finally:
        _SEEN.reset(before)


def part_of_outputs(step: BatchStep, **outputs: dict[str, Any]) -> dict[str, Any]:
    """What a step's node yields at a time: some of its outputs, and nothing for all others."""
    artifacts = {name: outputs.get(name, {}) for name in step.artifacts}
    return {**artifacts, "records": {name: outputs.get(name, {}) for name in WRITTEN_DOWN}}


def run_step(
    step: BatchStep,
    open_work: Callable[[], Work],
    *,
    inputs: Mapping[str, Any],
    parameters: Parameters,
    batch: BatchParameters,
    history: History,
    weights: Sequence[Path] = (),
    written_as: Callable[[str], str] = str,
    product_settings: Mapping[str, Mapping[str, str]] | None = None,
) -> Iterator[dict[str, Any]]:
    """Bring the step up to date for every product of its first input, and yield each result as it finishes.

    Args:
        step: What it makes, from what.
        open_work: Opens the work, such as its models. It is called once per worker, and only if some product needs it.
        inputs: By the name under which the work gets them: mappings from a product to a function that reads its file,
            which lies at its ``path``. The first input says which products there are.
        parameters: The step's settings.
        batch: How the batch is run.
        history: What earlier runs left.
        weights: Folders of the networks in use.
        written_as: The catalog's own spelling of a product's id.
        product_settings: Settings of single products, by the names of the parameters that they replace. The work gets
            the product's own as its input ``parameters``.

    Yields:
        All of `BatchStep.outputs`, most of them empty. A result's artifacts are yielded before its record. A run that
        dies in between leaves artifacts without a record, and the next run makes them again.

    Raises:
        StoppedError: The run is told to stop. What was yielded before is safe on disk.
        Exception: What concerns the whole run, see `isolation.stops_the_run`.
    """

    chunk = partial(part_of_outputs, step)

    # Kedro looks at the first yield before it saves anything, so the first one costs nothing.
    yield chunk()
    started = time.perf_counter()
    existing = Existing(step, inputs, history)
    settings = Settings(parameters, weights, written_as, product_settings)
    due = Due(step, inputs, settings, batch, history, existing)
    products = due.products()
    if (seen := _SEEN.get()) is not None:
        seen.update(product for product in products if due.would_make(product))
        return
    counts = {"products": len(products), "made": 0, "skipped": 0, "failed": 0, "left_out": 0, "gone": 0}
    under_way: dict[str, Todo] = {}
    shown = UnderWay(history.folder, step.name, history.run_id)
    peak_bytes = 0

    def settle(outcome: Outcome) -> Iterator[dict[str, Any]]:
        nonlocal peak_bytes
        peak_bytes = max(peak_bytes, outcome.peak_bytes)
        product, todo = outcome.product, under_way.pop(outcome.product)
        shown.show(under_way)
        if isinstance(outcome.result, Failure):
            counts["failed"] += 1
            record = todo.draft.failed(outcome, outcome.result)
            logger.warning("%s: %s failed. %s", step.name, record.product, record.message)
            yield chunk(tracebacks={product: outcome.result.traceback}, records={product: record.to_json()})
        else:
            counts["made"] += 1
            artifacts = {name: {product: outcome.result[name]} for name in step.artifacts}
            yield chunk(**artifacts, losses={product: outcome.curves} if outcome.curves else {})
            record = todo.draft.made(outcome, existing.outputs(product))
            yield chunk(tracebacks={product: None}, records={product: record.to_json()})
        # Its end is recorded. A worker may have been killed from outside: then the product goes on where it was.
        if not (isinstance(outcome.result, Failure) and outcome.result.kind == WORKER_DIED):
            existing.forget_checkpoint(product)
        progress.done(product)

    with stopped_run(), ExitStack() as stack:
        progress = stack.enter_context(StepProgress(step.name, len(products)))
        stack.callback(shown.show, ())
        executor: Executor | None = None
        for product in products:
            stop_if_told()
            decision = due.decide(product)
            if isinstance(decision, Settled):
                counts["left_out" if decision.left_out else "skipped"] += 1
                if decision.record:
                    yield chunk(records={product: decision.record.to_json()})
                existing.forget_checkpoint(product)
                progress.done(product)
                continue
            under_way[product] = decision
            if reason := existing.in_the_way(product):
                yield from settle(Outcome(product, 0.0, Failure(ProductError.__name__, reason, "")))
                continue
            if executor is None:
                resources = batch.resources_of(step.name)
                made = make_executor(batch.executor, resources, open_work, progress, len(products))
                executor = stack.enter_context(made)
            shown.show(under_way)
            for outcome in executor.submit(decision.task):
                yield from settle(outcome)
        if executor:
            for outcome in executor.drain():
                yield from settle(outcome)
        went = []
        for product, changed in gone(history.records(step.name), *next(iter(inputs.items()))):
            counts["gone"] += 1
            if changed:
                went.append(changed.product)
                yield chunk(records={product: changed.to_json()})
                existing.forget_checkpoint(product)
        if went:
            logger.warning("%s: no longer in the catalog: %s", step.name, some(went, len(went)))
    seconds = round(time.perf_counter() - started, 3)
    yield chunk(summary={step.name: {**counts, "seconds": seconds, "peak_bytes": peak_bytes}})
