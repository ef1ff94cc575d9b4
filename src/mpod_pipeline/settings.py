"""Kedro's settings of the project."""

from __future__ import annotations

import os
from pathlib import Path

from kedro.utils import find_kedro_project

from mpod_pipeline.base.folders import folder, optional_folder
from mpod_pipeline.hooks.batch import BatchHooks
from mpod_pipeline.hooks.presets import MethodConfigLoader
from mpod_pipeline.hooks.stores import StoreHooks
from mpod_pipeline.hooks.tracking import TrackingHooks


def mlflow_tracking_uri() -> str:
    """The environment's MLflow store, or ``mlflow.db`` in the project's folder, wherever the run is started."""
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{project / 'mlflow.db'}"


def mlflow_artifact_location() -> str | None:
    """``mlruns`` beside a store that is a file; any other store has a place of its own."""
    store, prefix = mlflow_tracking_uri(), "sqlite:///"
    if not store.startswith(prefix):
        return None
    return str(Path(store.removeprefix(prefix)).absolute().parent / "mlruns")


CONFIG_LOADER_CLASS = MethodConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    # an environment changes single settings of a step and keeps the others
    "merge_strategy": {"parameters": "soft"},
    "config_patterns": {
        "mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"],
        "logging": ["logging*"],
        "airflow": ["airflow*"],
    },
    "custom_resolvers": {
        "folder": folder,
        "optional_folder": optional_folder,
        "mlflow_tracking_uri": mlflow_tracking_uri,
        "mlflow_artifact_location": mlflow_artifact_location,
    },
}

_batch = BatchHooks()
HOOKS = (_batch, TrackingHooks(_batch), StoreHooks())  # of those that come first, the last one is the very first

DISABLE_HOOKS_FOR_PLUGINS = (
    # TrackingHooks is kedro-mlflow's hook, made to survive a store that cannot be written
    "kedro-mlflow",
    "kedro_mlflow",
    # keeps an event in memory for every file of every product
    "kedro-viz",
    "kedro-telemetry",
)
