"""Runs in MLflow: kedro-mlflow's hook, with what a batch has to tell. A store that fails costs the record,
not the run.
"""

from __future__ import annotations

import functools
import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node
from kedro_mlflow.framework.hooks.mlflow_hook import MlflowHook
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_METRICS_PER_BATCH, MAX_PARAM_VAL_LENGTH, MAX_PARAMS_TAGS_PER_BATCH
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from mpod_pipeline.hooks import BatchHooks, is_batch

logger = logging.getLogger(__name__)

#: Datasets whose pictures are kept with the run.
PICTURES = ("turntables", "road_turntables", "novel_view_samples", "caption_samples")
#: A run follows so many products: their seconds, curves, scores and pictures are in MLflow. Of thousands, nobody
#: could open the run any more; the workspace has them all.
FOLLOWED = 100
#: And of each curve about so many points, as every one costs the store half a millisecond.
CURVE_POINTS = 100
_STORE_ERRORS = (MlflowException, SQLAlchemyError, sqlite3.Error, OSError)


def _unless_lost(hook: Callable[..., None]) -> Callable[..., None]:
    """From the first trouble with the store on, a warning and nothing more; the run goes on."""

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
    """One MLflow run a Kedro run: flattened parameters, counts, seconds, scores, loss curves, pictures."""

    def __init__(self, batch: BatchHooks) -> None:
        self.lost = False
        self._batch = batch
        self._mlflow = MlflowHook()
        self._pending: list[Metric] = []
        self._followed: set[str] = set()

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self.lost = False
        self._set_up(context)

    @_unless_lost
    def _set_up(self, context: KedroContext) -> None:
        _require_writable(context.config_loader["mlflow"]["server"]["mlflow_tracking_uri"])
        self._mlflow.after_context_created(context)

    @hook_impl
    @_unless_lost
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        self._pending.clear()
        self._followed.clear()
        self._mlflow.before_pipeline_run(run_params=run_params, pipeline=pipeline, catalog=catalog)
        names = sorted(name for name in pipeline.inputs() if name.startswith("params:"))
        parameters = {
            key: str(value)[:MAX_PARAM_VAL_LENGTH]
            for name in names
            for key, value in flatten(name.removeprefix("params:"), catalog.load(name))
        }
        for batch in _batches(parameters.items(), MAX_PARAMS_TAGS_PER_BATCH):
            mlflow.log_params(dict(batch))

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
            self._log(
                (f"seconds/{node.name}/{product}", record["seconds"], 0)
                for product, record in data.items()
                if record["state"] == "made" and self._follows(product)
            )
        elif dataset_name == f"{node.name}_summary":
            self._log((f"{node.name}/{name}", value, 0) for name, value in data[node.name].items())
            self._flush()
        elif dataset_name == f"{node.name}_losses":
            self._log(
                (f"loss/{node.name}/{product}/{name}", value, step)
                for product, curves in data.items()
                if self._follows(product)
                for name, curve in curves.items()
                for step, value in _thinned(curve)
            )
        elif dataset_name.endswith("_curve"):
            self._log((f"loss/{node.name}", value, step) for step, value in data)
            self._flush()
        elif dataset_name in PICTURES:
            for product, picture in data.items():
                if self._follows(product):
                    mlflow.log_image(picture, artifact_file=f"{dataset_name}/{product}.png")

    @hook_impl
    @_unless_lost
    def after_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> None:
        print(f"MLflow run: {self._mlflow.run_id} in {mlflow.get_tracking_uri()}")
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

    def _log_scores(self, name: str, table: pd.DataFrame) -> None:
        """The table as a file; as metrics, the catalog's scores, or the priors' in all."""
        if name == "scores":
            followed = (table["product"] == "mean") | table["product"].map(self._follows)
            self._log(_metrics_of_table(table[followed]))
        elif name == "prior_scores":
            self._log((score, value, 0) for score, value in zip(table["score"], table["value"], strict=True))
        self._flush()
        mlflow.log_text(table.to_csv(index=False), f"{name}.csv")

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


def _metrics_of_table(table: pd.DataFrame) -> Iterator[tuple[str, float, int]]:
    for row in table.to_dict(orient="records"):
        product = row.pop("product")
        for name, value in row.items():
            if not isinstance(value, str):  # flags
                yield f"{product}/{name}", value, 0


def _metric_name(name: str) -> str:
    return re.sub(r"[^/\w.\- ]", "_", name)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch


def _require_writable(uri: str) -> None:
    """Raise at once if an SQLite store cannot be written; MLflow itself tries for two minutes."""
    prefix = "sqlite:///"
    if uri.startswith(prefix):
        connection = sqlite3.connect(uri.removeprefix(prefix), timeout=30)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.rollback()
        finally:
            connection.close()
