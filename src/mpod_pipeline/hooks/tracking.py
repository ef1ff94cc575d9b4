"""Runs in MLflow: kedro-mlflow's hook, with what a batch tells. A store that fails costs the record, not the run."""

from __future__ import annotations

import fcntl
import functools
import logging
import os
import re
import shlex
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro_mlflow.config.kedro_mlflow_config import ExperimentOptions, KedroMlflowConfig
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from mpod_pipeline.base.folders import PLACES, folder
from mpod_pipeline.base.network import require_answer
from mpod_pipeline.base.stores import is_address
from mpod_pipeline.datasets.tables import as_csv, mean_scores
from mpod_pipeline.hooks.batch import BatchHooks, is_batch
from mpod_pipeline.hooks.checks import check_values
from mpod_pipeline.publish.steps import EVERY_STEP

logger = logging.getLogger(__name__)
# Both set themselves to INFO when they are imported, and tell of each table that they make in a new store.
for _name in ("mlflow", "kedro_mlflow"):
    logging.getLogger(_name).setLevel(logging.WARNING)

#: Datasets whose files are kept with the run: what the steps show, and what the scores of the priors were taken of.
FILES = frozenset(name for step in EVERY_STEP for name in step.shown)
SAMPLES = ("_samples", "_turntables")
#: A run follows so many products: their curves, models and pictures are in MLflow. Of thousands, nobody could open the
#: run any more; the workspace has them all.
FOLLOWED = 100
#: And of each curve about so many points, as every one costs the store half a millisecond.
CURVE_POINTS = 100
#: What makes a run only a part of its pipelines.
CHOICES = ("tags", "node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs", "namespaces")
SQLITE = "sqlite:///"
#: How long a server may take to answer; afterwards MLflow's own patience is cut down, too, from four minutes.
SERVER_S = 5.0
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
_STORE_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)


def _unless_lost(hook: Callable[..., None]) -> Callable[..., None]:
    """When the store first fails, warn once; the run goes on without it."""

    @functools.wraps(hook)
    def tolerant(self: TrackingHooks, *arguments: Any, **named: Any) -> None:
        if self.lost:
            return
        try:
            hook(self, *arguments, **named)
        except _STORE_ERRORS as error:
            self.lost = True
            logger.warning("MLflow's store cannot be written; this run goes on without it. (%s)", error)
            with suppress(*_STORE_ERRORS):  # a run left open would be in the way of the process's next one
                mlflow.end_run("FAILED")

    return tolerant


class TrackingHooks:
    """One MLflow run a Kedro run: flattened parameters, counts, scores, loss curves, models, pictures."""

    def __init__(self, batch: BatchHooks) -> None:
        self.lost = False
        self._batch = batch
        self._mlflow = MlflowHook()
        self._pending: list[Metric] = []
        self._followed: set[str] = set()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        """Read MLflow's settings. Its store is opened when a run begins: one that cannot begin leaves nothing there."""
        self.lost = False
        self._context = context
        settings = context.config_loader["mlflow"]
        check_values({"mlflow": settings}, {"mlflow": KedroMlflowConfig})
        self._uri = settings["server"]["mlflow_tracking_uri"]
        vars(context)["mlflow"] = KedroMlflowConfig.model_validate(settings)  # as `kedro mlflow ui` looks for it

    @hook_impl
    @_unless_lost
    def before_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        self._pending.clear()
        self._followed.clear()
        self._catalog = catalog
        with opened_store(self._uri):
            self._mlflow.after_context_created(self._context)
        settings = self._mlflow.mlflow_config.tracking
        follow_the_store(mlflow.get_tracking_uri(), settings.experiment)
        settings.run.name = settings.run.name or run_name(run_params, pipeline, self._workspace)
        self._mlflow.before_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)
        mlflow.set_tags(origin(self._context.project_path))
        names = sorted(name for name in pipeline.inputs() if name.startswith("params:"))
        named = self._context.config_loader["parameters"]
        parameters = {name: self._place(name) for name in PLACES if named.get(name) is not None}
        for name in names:
            leaves = flatten(name.removeprefix("params:"), catalog.load(name))
            parameters |= {key: str(value)[:MAX_PARAM_VAL_LENGTH] for key, value in leaves}
        for batch in _batches(parameters.items(), MAX_PARAMS_TAGS_PER_BATCH):
            mlflow.log_params(dict(batch))

    @property
    def _workspace(self) -> Path:
        return Path(self._place("workspace"))

    def _place(self, name: str) -> str:
        """The folder that the run has for photos, workspace, priors or models: absolute, or its address."""
        place = self._context.config_loader["parameters"][name]
        if is_address(place):
            return str(place)
        return str((self._context.project_path / folder(name, place)).resolve())

    @hook_impl
    @_unless_lost
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        if isinstance(data, pd.DataFrame):
            if dataset_name.endswith("scores") and not data.empty:
                self._log_scores(dataset_name, data)
            return
        if not data:
            return
        if dataset_name == f"{node.name}_records":
            self._log_records(node.name, data)
        elif dataset_name.endswith("_curve"):
            self._log((f"loss/{node.name}", value, step) for step, value in data)
            self._flush()
        elif dataset_name == "comparison":
            mlflow.log_artifacts(str(self._catalog.load(dataset_name)), dataset_name)
        elif dataset_name == "site":
            mlflow.set_tag("page", str(self._catalog["site"].path))
        elif dataset_name in FILES or dataset_name.endswith(SAMPLES):
            files = self._catalog.load(dataset_name)
            for product in data:
                if self._follows(product):
                    mlflow.log_artifact(str(files[product].path), dataset_name)

    @hook_impl
    @_unless_lost
    def after_pipeline_run(self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        experiment = self._mlflow.mlflow_config.tracking.experiment._experiment.experiment_id
        page = f"#/experiments/{experiment}/runs/{self._mlflow.run_id}"
        print(f"MLflow run: {where_to_look(page, self._context.project_path)}")
        self._log_summary(pipeline)
        if self._batch.summary.too_many_failed:
            mlflow.end_run("FAILED")
        else:
            self._mlflow.after_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)

    @hook_impl
    @_unless_lost
    def on_pipeline_error(
        self, error: Exception, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._flush()
        self._log_summary(pipeline)
        self._mlflow.on_pipeline_error(error=error, run_params=run_params, pipeline=pipeline, catalog=catalog)

    def _follows(self, product: str) -> bool:
        """Whether the product is among those that the run follows; it takes them as they come."""
        if len(self._followed) < FOLLOWED:
            self._followed.add(product)
        return product in self._followed

    def _log_records(self, of: str, data: dict[str, Any]) -> None:
        self._log(
            (f"loss/{of}/{product}/{name}", value, step)
            for product, curves in data["losses"].items()
            if self._follows(product)
            for name, curve in curves.items()
            for step, value in _thinned(curve)
        )
        if data["summary"]:
            self._log((f"{of}/{name}", n, 0) for counts in data["summary"].values() for name, n in counts.items())
            self._flush()

    def _log_scores(self, name: str, table: pd.DataFrame) -> None:
        """The table, to be read in MLflow and as a file; as metrics, the catalog's means, or the priors' in all."""
        if name == "scores":
            self._log((f"mean/{score}", value, 0) for score, value in mean_scores(table).items())
        elif name == "prior_scores":
            self._log((score, value, 0) for score, value in zip(table["score"], table["value"], strict=True))
        self._flush()
        mlflow.log_table(table, f"{name}.json")
        mlflow.log_text(as_csv(table), f"{name}.csv")

    def _log_summary(self, pipeline: Pipeline) -> None:
        if is_batch(pipeline):
            mlflow.log_dict(self._batch.summary.to_json(), "summary.json")
            mlflow.set_tag("verdict", self._batch.summary.verdict)

    def _log(self, values: Iterable[tuple[str, float, int]]) -> None:
        """Log (name, value, step); sent in batches, as every call costs the store a commit."""
        now = int(time.time() * 1000)
        for name, value, step in values:
            if np.isfinite(value):
                self._pending.append(Metric(_metric_name(name), value, now, step))
            if len(self._pending) == MAX_METRICS_PER_BATCH:
                self._flush()

    def _flush(self) -> None:
        if self._pending:
            mlflow.MlflowClient().log_batch(self._mlflow.run_id, metrics=self._pending)
            self._pending = []


def flatten(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """(dotted name, value) of every leaf of nested settings."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flatten(f"{name}.{key}", inner)
    else:
        yield name, value


def _thinned(curve: Sequence[tuple[int, float]]) -> Iterator[tuple[int, float]]:
    """Every so many points, counted from the last one."""
    stride = max(1, len(curve) // CURVE_POINTS)
    return reversed(curve[::-stride])


def _metric_name(name: str) -> str:
    return re.sub(r"[^/\w.\- ]", "_", name)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def run_name(run_params: dict[str, Any], pipeline: Pipeline, workspace: Path) -> str:
    """What tells a run from others in a list: its nodes or pipelines, its workspace, its time."""
    chosen = any(run_params[option] for option in CHOICES)
    what = [node.name for node in pipeline.nodes] if chosen else run_params["pipeline_names"]
    return f"{'+'.join(what or ['all'])} in {workspace.name}, {datetime.now():%Y-%m-%d %H:%M}"


def origin(project: Path) -> dict[str, str]:
    """Tags: the commit of the code, and the command as it was typed."""
    tags = {}
    if commit := get_git_commit(str(project)):
        tags["mlflow.source.git.commit"] = commit
    if click.get_current_context(silent=True):
        tags["kedro_command"] = shlex.join(["kedro", *sys.argv[1:]])
    return tags


def where_to_look(page: str, project: Path) -> str:
    """The address of a page of the store, and the command that serves it where the store is a file."""
    uri = mlflow.get_tracking_uri()
    if uri.startswith("http"):
        return f"{uri.rstrip('/')}/{page}"
    where = "" if uri == f"sqlite:///{project / 'mlflow.db'}" else f" --backend-store-uri {shlex.quote(uri)}"
    return f"http://127.0.0.1:5000/{page} (after: mlflow ui{where})"


@contextmanager
def opened_store(uri: str) -> Iterator[None]:
    """While MLflow opens its store. Raises OSError or sqlite3.Error at once where it cannot: MLflow itself tries again
    for minutes. Runs that open a new file at the same time take turns, as MLflow makes its tables without a lock.
    """
    if uri.startswith(SQLITE):
        file = Path(uri.removeprefix(SQLITE))
        with _in_turn(file.absolute().parent):
            _require_writable(file)
            yield
    else:
        if uri.startswith("http"):
            for name, value in PATIENCE.items():
                os.environ.setdefault(name, value)
            require_answer(f"{uri.rstrip('/')}/health", SERVER_S)
        yield


@contextmanager
def _in_turn(place: Path) -> Iterator[None]:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        with suppress(OSError):  # a network's disk may have no locks for folders
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _require_writable(file: Path) -> None:
    with closing(sqlite3.connect(file, timeout=30)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def follow_the_store(uri: str, experiment: ExperimentOptions) -> None:
    """Let an experiment whose store is a file keep its files beside the store, wherever the project was moved.

    MLflow writes down an absolute path when the experiment is made. Earlier runs follow if their files did.
    """
    found, wanted = experiment._experiment, experiment.create_experiment_kwargs.artifact_location
    if not uri.startswith(SQLITE) or wanted is None or found.artifact_location == wanted:
        return
    before, now = (local_file_uri_to_path(place) for place in (found.artifact_location, wanted))
    with closing(sqlite3.connect(uri.removeprefix(SQLITE), timeout=30)) as store, store:
        number = int(found.experiment_id)
        store.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (wanted, number))
        runs = store.execute("SELECT run_uuid, artifact_uri FROM runs WHERE experiment_id = ?", (number,)).fetchall()
        for run, place in runs:
            inside = os.path.relpath(local_file_uri_to_path(place), before)
            if (Path(now) / inside).is_dir():
                moved = (f"{wanted.rstrip('/')}/{inside}", run)
                store.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", moved)
    experiment._experiment = mlflow.get_experiment(found.experiment_id)
