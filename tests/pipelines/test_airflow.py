"""The DAG that kedro-airflow makes from our template. Airflow itself is not installed here: a stand-in with the
same names takes the DAG apart.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from kedro_airflow.plugin import create

from mpod_pipeline.cli import TooManyFailed
from mpod_pipeline.method.steps import STEPS

ROOT = Path(__file__).parents[2]
FILE = "mpod_pipeline_nightly_catalog_to_3d_dag.py"


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two DAGs of one template, for a project whose `kedro` writes down how it was called."""
    folder = tmp_path_factory.mktemp("airflow")
    kedro = folder / "a project" / "kedro"
    kedro.parent.mkdir()
    kedro.write_text('#!/bin/sh\nfor word; do echo "$word"; done > called\nexit $(cat code)\n')
    kedro.chmod(0o755)
    given = f"project={kedro.parent},kedro={kedro},run_params=workspace=/srv/o'clock"
    for pipeline in ("catalog_to_3d", "segment"):
        command = [f"--pipelines={pipeline}", "--env=nightly", f"--target-dir={folder / 'dags'}"]
        command += [f"--jinja-file={ROOT / 'conf/base/airflow_dag.j2'}", f"--params={given}"]
        made = CliRunner().invoke(create, command, obj=bootstrap_project(ROOT))
        assert made.exit_code == 0, made.output
    return folder / "dags"


class Airflow:
    """What a DAG file says to Airflow: the DAG's settings and its tasks."""

    class FailError(Exception):
        pass

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.dag: dict[str, Any] = {}
        self.tasks: dict[str, Callable[[], None]] = {}
        self.asked_for: dict[str, Any] = {}
        sdk = ModuleType("airflow.sdk")
        vars(sdk).update(
            dag=self._dag,
            task=self._task,
            Param=lambda default, **schema: default,
            get_current_context=lambda: {"params": {**self.dag["params"], **self.asked_for}},
        )
        exceptions = ModuleType("airflow.sdk.exceptions")
        vars(exceptions).update(AirflowFailException=self.FailError)
        modules = {"airflow": ModuleType("airflow"), "airflow.sdk": sdk, "airflow.sdk.exceptions": exceptions}
        for name, module in modules.items():
            monkeypatch.setitem(sys.modules, name, module)

    def _dag(self, **settings: Any) -> Callable[..., Any]:
        self.dag = settings
        return lambda function: function

    def _task(self, task_id: str) -> Callable[..., Any]:
        def keep(function: Callable[[], None]) -> Callable[[], None]:
            self.tasks[task_id] = function
            return lambda: None  # called while the DAG is parsed: nothing is run then

        return keep

    def parse(self, file: Path) -> None:
        self.dag, self.tasks = {}, {}
        exec(compile(file.read_text(), str(file), "exec"), {"__name__": file.stem, "__doc__": ""})


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> Airflow:
    return Airflow(monkeypatch)


def test_the_dag_needs_nothing_but_airflow(dags: Path) -> None:
    for file in dags.iterdir():
        tree = ast.parse(file.read_text())
        imported = {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
        assert imported - set(sys.stdlib_module_names) == {"airflow"}
    documentation = ast.get_docstring(ast.parse((dags / FILE).read_text()))
    assert documentation and all(f". {step.name}" in documentation for step in STEPS)


def test_each_pipeline_has_a_dag_of_its_own(dags: Path, airflow: Airflow) -> None:
    ids = set()
    for file in dags.iterdir():
        airflow.parse(file)
        ids.add(airflow.dag["dag_id"])
    assert ids == {"mpod-pipeline-catalog-to-3d-nightly", "mpod-pipeline-segment-nightly"}
    assert airflow.dag["max_active_runs"] == 1 and airflow.dag["catchup"] is False


@pytest.mark.parametrize(
    ("asked_for", "params"),
    [({}, ["--params=workspace=/srv/o'clock"]), ({"params": "x=[a b]"}, ["--params=x=[a b]"]), ({"params": ""}, [])],
)
def test_parameters_reach_the_run(dags: Path, airflow: Airflow, asked_for: dict[str, str], params: list[str]) -> None:
    project = dags.parent / "a project"
    (project / "code").write_text("0")
    airflow.parse(dags / FILE)
    airflow.asked_for = asked_for
    airflow.tasks["catalog_to_3d"]()
    expected = ["run", "--pipelines=catalog_to_3d", "--env=nightly", *params]
    assert (project / "called").read_text().splitlines() == expected


def test_a_run_that_stopped_is_tried_again_and_one_with_too_many_failures_is_not(dags: Path, airflow: Airflow) -> None:
    airflow.parse(dags / FILE)
    code = dags.parent / "a project" / "code"
    code.write_text("1")
    with pytest.raises(RuntimeError, match="exit code 1"):
        airflow.tasks["catalog_to_3d"]()
    code.write_text(str(TooManyFailed.exit_code))
    with pytest.raises(Airflow.FailError, match="Too many products failed"):
        airflow.tasks["catalog_to_3d"]()
