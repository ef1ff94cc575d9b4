"""A toy project of two steps that cost nothing, run in this process by the real hooks, settings and
datasets.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
from kedro.framework.project import configure_project
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from mpod_pipeline.batch.records import Record, read_record
from mpod_pipeline.datasets import History
from mpod_pipeline.settings import HOOKS

pytest.register_assert_rewrite("tests.batch.bench")  # its class has assertions, and no name of a test's

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "toy_project"


@pytest.fixture(scope="session")
def toy_configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy's catalog beside the project's own settings."""
    base = tmp_path_factory.mktemp("conf") / "base"
    base.mkdir()
    (base.parent / "local").mkdir()
    for name in ("globals.yml", "parameters.yml", "mlflow.yml"):
        shutil.copy(ROOT / "conf" / "base" / name, base)
    shutil.copy(TOY / "catalog.yml", base)
    settings = base / "parameters.yml"  # the toy's work leaves its traces in the run's own process
    settings.write_text(settings.read_text().replace("kind: processes", "kind: in_process"))
    (base / "parameters_shout.yml").write_text("shout: {}\n")
    return base.parent


@pytest.fixture(scope="session")
def mlflow_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


def run_toy(configuration: str, nodes: list[str] | None = None, env: str | None = None, **params: Any) -> None:
    bootstrap_project(TOY)
    with KedroSession.create(TOY, env=env, runtime_params=params, conf_source=configuration) as session:
        session.run(node_names=nodes)


class Toy:
    """A folder of photos, a workspace, and runs on them."""

    def __init__(self, folder: Path, configuration: Path, module: ModuleType) -> None:
        self.photos = folder / "photos"
        self.workspace = folder / "workspace"
        self.photos.mkdir()
        self._configuration = configuration
        self._module = module

    def write(self, **photos: str) -> None:
        for product, text in photos.items():
            (self.photos / f"{product}.jpg").write_text(text)

    def run(self, nodes: list[str] | None = None, env: str | None = None, **params: Any) -> list[tuple[str, str]]:
        """Run; the (step, text) of all work that was done."""
        self._module.done.clear()
        self._module.opened.clear()
        run_toy(**self.arguments, nodes=nodes, env=env, **params)
        return self.done

    @property
    def done(self) -> list[tuple[str, str]]:
        """The (step, text) of all work of the last run, even if that was stopped."""
        return list(self._module.done)

    @property
    def arguments(self) -> dict[str, str]:
        """Those of `run_toy`, which may be called in another process."""
        return {"configuration": str(self._configuration), "photos": str(self.photos), "workspace": str(self.workspace)}

    @property
    def opened(self) -> list[str]:
        return self._module.opened

    @property
    def counts(self) -> dict[str, dict[str, float]]:
        return HOOKS[0].summary.steps

    @property
    def history(self) -> History:
        return History(self.workspace / "records", {}, self.workspace / "checkpoints")

    def record(self, step: str, product: str) -> Record | None:
        return read_record(self.history.records(step), product)

    def state(self, step: str, product: str) -> str:
        record = self.record(step, product)
        return record.state if record else "none"

    def failures(self) -> list[list[str]]:
        return pd.read_csv(self.workspace / "failures.csv").to_numpy().tolist()


@pytest.fixture
def toy(tmp_path: Path, toy_configuration: Path, mlflow_store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Toy]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow_store)
    monkeypatch.syspath_prepend(str(TOY))
    bootstrap_project(TOY)
    yield Toy(tmp_path, toy_configuration, importlib.import_module("toy.pipeline_registry"))
    configure_project("mpod_pipeline")
