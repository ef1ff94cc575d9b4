"""What happens round a batch: a check of the command line, the log, the lock, the table of failures, the summary."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pandas as pd
from kedro.config import MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import LOGGING
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from mpod_pipeline.base.stopping import stop_if_told, stopped_run
from mpod_pipeline.base.text import readable, show_every_letter
from mpod_pipeline.batch.lock import WorkspaceLock
from mpod_pipeline.batch.parameters import BatchParameters
from mpod_pipeline.batch.processes import close_workers, start_worker, worker_count
from mpod_pipeline.batch.records import Record, read_record
from mpod_pipeline.batch.summary import RunSummary, in_a_line
from mpod_pipeline.datasets import History, connect_history, is_history
from mpod_pipeline.datasets.loading import load_from
from mpod_pipeline.datasets.tables import mean_scores
from mpod_pipeline.hooks.checks import check_batch, check_names
from mpod_pipeline.method.steps import Step
from mpod_pipeline.publish.steps import EVERY_STEP, EVERY_STEP_BY_NAME

logger = logging.getLogger(__name__)
# Before `tracking` imports MLflow, which warns at once. Which warnings are told, the log's settings say.
logging.captureWarnings(True)

FAILURE_COLUMNS = ("product", "step", "error", "message")


class TooManyFailuresError(Exception):
    """More products failed than `BatchParameters.max_failed_fraction` allows. The others were made."""


def is_batch(pipeline: Pipeline) -> bool:
    """Whether the pipeline has steps, which is known by their input `history`."""
    return any(is_history(name) for name in pipeline.inputs())


class BatchHooks:
    """Hooks round every pipeline that has steps."""

    def __init__(self) -> None:
        self.summary = RunSummary()
        self._lock: WorkspaceLock | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Refuse settings that no settings file knows, and let the environment's own ``logging.yml`` take over, where
        it has one: Kedro reads one for all.
        """
        show_every_letter()
        with suppress(MissingConfigException):
            LOGGING.configure(context.config_loader["logging"])
        check_names(context.config_loader)

    @hook_impl
    def after_catalog_created(self, catalog: CatalogProtocol) -> None:
        connect_history(catalog)

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Lock the workspace, then open what the steps need, before any product is touched."""
        self._nodes = [node.name for node in pipeline.nodes]
        if "models" in pipeline.inputs():
            load_from(catalog, "models")
        if not is_batch(pipeline):
            return
        self._histories = sorted(name for name in pipeline.inputs() if is_history(name))
        for name in self._histories:
            connect_history(catalog, name)
        check_batch(pipeline, catalog, [step.name for step in EVERY_STEP])
        batch = catalog.load("params:batch")
        self.summary = RunSummary(run_params["run_id"], max_failed_fraction=batch.max_failed_fraction)
        lock = WorkspaceLock(catalog.load("history").folder / ".lock")
        lock.acquire(run_params["run_id"])  # before models are loaded beside another run's
        try:
            _start_worker(pipeline, catalog, batch)
            # here, for commands that run nothing shall not wait for PyTorch
            from mpod_pipeline.hooks.preflight import check_run

            check_run(pipeline, catalog)
        except BaseException:
            close_workers()
            lock.release()
            raise
        self._lock = lock

    @hook_impl
    def before_node_run(self, node: Node, inputs: dict[str, Any], run_id: str) -> dict[str, Any] | None:
        """Say which step begins, and let a step know which run it is in."""
        with stopped_run():
            stop_if_told()
        logger.info("Step %d of %d: %s", self._nodes.index(node.name) + 1, len(self._nodes), node.name)
        return {name: replace(data, run_id=run_id) for name, data in inputs.items() if is_history(name)} or None

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        if dataset_name == "scores" and not data.empty:
            self.summary.mean_scores = mean_scores(data)
        if dataset_name != f"{node.name}_records":
            return
        for record in data["records"].values():
            self.summary.note(Record.model_validate(record))
        for counts in data["summary"].values():
            self.summary.steps[node.name] = counts
            logger.info("%s: %s", node.name, in_a_line(counts))

    @hook_impl(trylast=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        """Close the batch, and raise TooManyFailuresError if it has to count as failed."""
        if self._close(catalog) and self.summary.too_many_failed:
            raise TooManyFailuresError(
                f"{self.summary.failed_fraction:.0%} of the products failed, and "
                f"batch.max_failed_fraction allows {self.summary.max_failed_fraction:.0%}. "
                "What could be made was made."
            )

    @hook_impl(tryfirst=True)
    def on_pipeline_error(self, error: Exception, catalog: CatalogProtocol) -> None:
        """Close the batch as far as it goes; the error that ended the run is the one to be told."""
        self.summary.stopped_by = f"{type(error).__name__}: {error}"
        try:
            self._close(catalog)
        except (DatasetError, OSError) as second:
            logger.warning("The run's end could not be written down. (%s)", second)

    def _close(self, catalog: CatalogProtocol) -> bool:
        """Write the failures, print the summary, let go of the lock; False if this was no batch."""
        if self._lock is None:
            return False
        try:
            catalog.save("failures", tabulate_failures([catalog.load(name) for name in self._histories]))
            catalog.save("runs", {self.summary.run_id: self.summary.to_json()})
            print(f"\n{self.summary.as_text()}\n\n{_places(catalog)}")
        finally:
            close_workers()
            self._lock.release()
            self._lock = None
        return True


def _start_worker(pipeline: Pipeline, catalog: CatalogProtocol, batch: BatchParameters) -> None:
    if "photos" in pipeline.inputs():
        steps = [EVERY_STEP_BY_NAME[node.name] for node in pipeline.nodes if node.name in EVERY_STEP_BY_NAME]
        start_worker_for(steps, load_from(catalog, "photos"), batch)


def start_worker_for(steps: Iterable[Step], photos: Iterable[str], batch: BatchParameters) -> None:
    """Let a worker import what the steps take, while this process does so, too, to check them."""
    products = set(photos) if batch.products is None else set(photos) & set(batch.products)
    if products and batch.executor.kind == "processes":
        start_worker(batch.executor.workers or worker_count(len(products)), [step.module for step in steps])


def tabulate_failures(histories: Iterable[History]) -> pd.DataFrame:
    """One row for each failure that stands, from whichever run."""
    failures = (record for history in histories for record in _standing_failures(history))
    rows = [[readable(getattr(record, column)) for column in FAILURE_COLUMNS] for record in failures]
    return pd.DataFrame(rows, columns=list(FAILURE_COLUMNS))


def _standing_failures(history: History) -> Iterator[Record]:
    places = history.folder.iterdir() if history.folder.is_dir() else ()
    for folder in sorted(path for path in places if path.is_dir()):
        records = history.records(folder.name)
        # A traceback lies beside every failure's record, so the many others need not be opened.
        for product in history.tracebacks(folder.name):
            record = read_record(records, product)
            if record and record.state == "failed":
                yield record


#: Where people look besides what the steps show, by the catalog's names.
TABLES = ("scores", "failures", "runs", "publish", "published", "site", "comparison")


def _places(catalog: CatalogProtocol) -> str:
    """Where people look, as far as something is there, from this run or another."""
    names = [*(name for step in EVERY_STEP for name in step.shown), *TABLES]
    paths = {name: getattr(catalog.get(name), "path", None) for name in names}
    return "\n".join(f"{name + ':':<11} {path}" for name, path in paths.items() if path and path.exists())
