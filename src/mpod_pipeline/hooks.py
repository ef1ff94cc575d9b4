"""What happens round a batch: a check of the command line, the log, the lock, the table of failures, the
summary.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

import pandas as pd
from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.framework.project import LOGGING, settings
from kedro.io import CatalogProtocol, DatasetError
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from mpod_pipeline.batch.lock import WorkspaceLock
from mpod_pipeline.batch.processes import close_workers
from mpod_pipeline.batch.records import Record, read_record
from mpod_pipeline.batch.summary import RunSummary
from mpod_pipeline.datasets import History
from mpod_pipeline.errors import SetupError
from mpod_pipeline.pipelines import STAGES

logger = logging.getLogger(__name__)

FAILURE_COLUMNS = ("product", "stage", "error", "message")


class TooManyFailuresError(Exception):
    """More products failed than `BatchParameters.max_failed_fraction` allows. The others were made."""


def is_batch(pipeline: Pipeline) -> bool:
    """Whether the pipeline has stages, which is known by their input `history`."""
    return "history" in pipeline.inputs()


def check_globals(loader: AbstractConfigLoader, environment: str) -> None:
    """Raises SetupError where an environment's parameters name what is taken from the globals: Kedro fills them into
    the base's parameters before it merges the environment's, which would change nothing.
    """
    with suppress(MissingConfigException):
        parameters = loader["parameters"]
        for name, value in loader["globals"].items():
            if name in parameters and parameters[name] != value:
                raise SetupError(
                    f"{name!r} has no effect in {environment}/parameters.yml: set it in "
                    f"{environment}/globals.yml, or by --params."
                )


class BatchHooks:
    """Hooks round every pipeline that has stages."""

    def __init__(self) -> None:
        self.summary = RunSummary()
        self._lock: WorkspaceLock | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Refuse --params that no settings file knows. (Within a section, the section's model refuses
        them.) And let the environment's own ``logging.yml`` take over, where it has one: Kedro reads one for
        all.
        """
        loader = context.config_loader
        with suppress(MissingConfigException):
            LOGGING.configure(loader["logging"])
        given = loader.runtime_params or {}
        without = type(loader)(conf_source=loader.conf_source, env=loader.env, **settings.CONFIG_LOADER_ARGS)
        check_globals(without, f"conf/{context.env or 'local'}")
        known = [name for name in without["parameters"] if not name.startswith("_")]
        for name in given:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}."
                raise SetupError(f"--params names {name!r}, which does not exist{hint}")

    @hook_impl(tryfirst=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        """Lock the workspace, then open what the stages need, before any product is touched."""
        if not is_batch(pipeline):
            return
        batch = catalog.load("params:batch")
        if unknown := set(batch.resources) - {*STAGES, *(node.name for node in pipeline.nodes)}:
            raise SetupError(f"batch.resources names {', '.join(sorted(unknown))}, which is no stage.")
        self.summary = RunSummary(run_params["run_id"], max_failed_fraction=batch.max_failed_fraction)
        lock = WorkspaceLock(catalog.load("history").folder / ".lock")
        lock.acquire(run_params["run_id"])  # before models are loaded beside another run's
        try:
            # here, for commands that run nothing shall not wait for PyTorch
            from mpod_pipeline.preflight import check_run

            check_run(pipeline, catalog)
        except BaseException:
            lock.release()
            raise
        self._lock = lock

    @hook_impl
    def before_node_run(self, inputs: dict[str, Any], run_id: str) -> dict[str, Any] | None:
        """Let the stage know which run it is in."""
        if "history" not in inputs:
            return None
        return {"history": replace(inputs["history"], run_id=run_id)}

    @hook_impl
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        if dataset_name == f"{node.name}_records":
            for record in data.values():
                self.summary.note(Record.model_validate(record))
        elif dataset_name == f"{node.name}_summary":
            self.summary.stages.update(data)

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
        except (DatasetError, OSError) as trouble:
            logger.warning("The run's end could not be written down. (%s)", trouble)

    def _close(self, catalog: CatalogProtocol) -> bool:
        """Write the failures, print the summary, let go of the lock; False if this was no batch."""
        if self._lock is None:
            return False
        try:
            catalog.save("failures", tabulate_failures(catalog.load("history")))
            catalog.save("runs", {self.summary.run_id: self.summary.to_json()})
            print(f"\n{self.summary.as_text()}\n\n{_places(catalog)}")
        finally:
            close_workers()
            self._lock.release()
            self._lock = None
        return True


def tabulate_failures(history: History) -> pd.DataFrame:
    """One row for each failure that stands, from whichever run."""
    rows = [[getattr(record, column) for column in FAILURE_COLUMNS] for record in _standing_failures(history)]
    return pd.DataFrame(rows, columns=list(FAILURE_COLUMNS))


def _standing_failures(history: History) -> Iterator[Record]:
    for folder in sorted(path for path in history.folder.iterdir() if path.is_dir()):
        records = history.records(folder.name)
        # A traceback lies beside every failure's record, so the many others need not be opened.
        for product in history.tracebacks(folder.name):
            record = read_record(records, product)
            if record and record.state == "failed":
                yield record


def _places(catalog: CatalogProtocol) -> str:
    names = {
        "GLBs": "meshes",
        "pictures": "turntables",
        "scores": "scores",
        "failures": "failures",
        "runs": "runs",
    }
    return "\n".join(f"{title + ':':<10} {catalog[name].path}" for title, name in names.items())
