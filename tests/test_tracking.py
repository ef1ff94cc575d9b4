"""What a run leaves in MLflow, and what it does where MLflow's store is in trouble."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.request import url2pathname

import click
import mlflow
import pandas as pd
import pytest
from kedro.io import DataCatalog
from mlflow.entities import Run

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets import FolderOfFiles
from mpod_pipeline.hooks import tracking
from mpod_pipeline.hooks.batch import BatchHooks
from mpod_pipeline.hooks.tracking import TrackingHooks, opened_store, origin, run_name, where_to_look
from tests.batch.conftest import Toy, mlflow_store, toy, toy_configuration
from tests.command import ROOT

__all__ = ["mlflow_store", "toy", "toy_configuration"]


def runs_in(store: str) -> list[Run]:
    client = mlflow.MlflowClient(store)
    experiment = client.get_experiment_by_name("mpod_pipeline")
    return list(client.search_runs([experiment.experiment_id])) if experiment else []


def artifacts(run: Run, folder: str) -> list[str]:
    place = Path(url2pathname(run.info.artifact_uri.removeprefix("file://"))) / folder
    return sorted(path.name for path in place.iterdir())


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store: to make its tables takes MLflow seconds."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow.MlflowClient(f"sqlite:///{file}").search_experiments()
    return file


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, toy: Toy, tables: Path) -> str:
    """A new one, in a folder of its own."""
    (tmp_path / "project").mkdir()
    shutil.copy(tables, tmp_path / "project")
    uri = f"sqlite:///{tmp_path / 'project/mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def test_a_run_can_be_told_from_others_and_keeps_what_was_made(
    toy: Toy, store: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tracking, "FILES", ("shouts",))
    toy.write(mug="mug", shoe="shoe")
    toy.run()
    toy.run(nodes=["shout"], force=True)
    second, first = runs_in(store)
    assert first.info.run_name and first.info.run_name.startswith("all in workspace, 20")
    assert second.info.run_name and second.info.run_name.startswith("shout in workspace, 20")
    assert (first.data.params["photos"], first.data.params["workspace"]) == (str(toy.photos), str(toy.workspace))
    assert artifacts(first, "shouts") == ["mug.json", "shoe.json"]
    page = f"#/experiments/{first.info.experiment_id}/runs/{first.info.run_id}"
    assert f"http://127.0.0.1:5000/{page} (after: mlflow ui --backend-store-uri {store})" in capsys.readouterr().out


def test_a_start_that_fails_leaves_no_run(toy: Toy, store: str) -> None:
    toy.write(mug="mug")
    Path(store.removeprefix("sqlite:///")).unlink()
    for params in ({"products": ["mugg"]}, {"photo": "x"}, {"batch": {"resources": {"shuot": {}}}}):
        with pytest.raises(SetupError):
            toy.run(**params)
    assert not Path(store.removeprefix("sqlite:///")).exists()


def test_a_project_that_was_moved_writes_where_it_is(
    toy: Toy, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.write(mug="mug")
    toy.run()
    (tmp_path / "project").rename(tmp_path / "elsewhere")
    moved = f"sqlite:///{tmp_path / 'elsewhere/mlflow.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", moved)
    toy.run(force=True)
    assert not (tmp_path / "project").exists()
    for run in runs_in(moved):  # that of before, too
        assert "summary.json" in artifacts(run, "")
        assert str(tmp_path / "elsewhere/mlruns") in run.info.artifact_uri


def test_a_server_that_is_down_costs_a_moment(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tracking, "SERVER_S", 1.0)
    toy.write(mug="mug")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        for address in (f"http://127.0.0.1:{port}", "http://127.0.0.1:9"):  # never answers; is not there
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            started = time.monotonic()
            toy.run(force=True)
            assert time.monotonic() - started < 20
    assert toy.state("shout", "mug") == "made"
    assert caplog.text.count("MLflow's store cannot be written") == 2


def test_runs_that_open_a_new_store_at_once_take_turns(tmp_path: Path) -> None:
    events: list[str] = []

    def open_it() -> None:
        with opened_store(f"sqlite:///{tmp_path / 'mlflow.db'}"):
            events.append("in")
            time.sleep(0.05)
            events.append("out")

    threads = [threading.Thread(target=open_it) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert events == ["in", "out"] * 5
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]  # no file of locks


@pytest.fixture
def started(tmp_path: Path, tables: Path) -> Iterator[TrackingHooks]:
    """Hooks within a run."""
    shutil.copy(tables, tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.set_experiment(experiment_id=mlflow.create_experiment("x", artifact_location=str(tmp_path / "mlruns")))
    hooks = TrackingHooks(BatchHooks())
    with mlflow.start_run() as run:
        hooks._mlflow.run_id = run.info.run_id
        yield hooks
    mlflow.set_tracking_uri(before)


@pytest.mark.parametrize(("sealed", "with_means"), [(True, False), (1.0, True)])
def test_scores_of_products_are_a_table_and_their_means_are_metrics(
    started: TrackingHooks, sealed: bool | float, with_means: bool
) -> None:
    rows = [
        {"product": "mug", "psnr": 20.0, "watertight": sealed},
        {"product": "shoe", "psnr": 30.0, "watertight": sealed},
    ]
    means = [{"product": "mean", "psnr": 25.0, "watertight": 1.0}]
    started.after_dataset_saved("scores", pd.DataFrame(rows + means * with_means), SimpleNamespace(name="evaluate"))
    run = mlflow.get_run(started._mlflow.run_id)
    assert run.data.metrics == {"mean/psnr": 25.0, "mean/watertight": 1.0}
    (table,) = json.loads(run.data.tags["mlflow.loggedArtifacts"])
    assert table == {"path": "scores.json", "type": "table"}
    logged = mlflow.load_table("scores.json", run_ids=[run.info.run_id])
    assert list(logged["product"][:2]) == ["mug", "shoe"]


def test_a_run_links_to_the_page(started: TrackingHooks, tmp_path: Path) -> None:
    site = FolderOfFiles(folder=str(tmp_path / "site"), others=True, page="index.html")
    started._catalog = DataCatalog({"site": site})
    started.after_dataset_saved("site", {"index.html": b"page"}, SimpleNamespace(name="make_site"))
    assert mlflow.get_run(started._mlflow.run_id).data.tags["page"] == str(tmp_path / "site/index.html")


def test_the_command_and_the_commit_are_tags(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "kedro_command" not in origin(ROOT)
    monkeypatch.setattr(sys, "argv", ["/x/kedro", "run", "--params=photos=/a b,products=[x]"])
    with click.Context(click.Command("run")):
        tags = origin(ROOT)
    assert tags["kedro_command"] == "kedro run '--params=photos=/a b,products=[x]'"
    if (ROOT / ".git").exists():
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
        assert tags["mlflow.source.git.commit"] == head.stdout.strip()


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        ("sqlite:////srv/mpod/mlflow.db", "http://127.0.0.1:5000/#/page (after: mlflow ui)"),
        ("http://mlflow.shop:5000/", "http://mlflow.shop:5000/#/page"),
    ],
)
def test_the_page_of_a_run_can_be_opened(monkeypatch: pytest.MonkeyPatch, uri: str, told: str) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: uri)
    assert where_to_look("#/page", Path("/srv/mpod")) == told


def test_a_run_of_a_pipeline_has_its_name() -> None:
    params = dict.fromkeys(tracking.CHOICES)
    name = run_name({**params, "pipeline_names": ["train_priors"]}, None, Path("/srv/catalog"))  # type: ignore[arg-type]
    assert name.startswith("train_priors in catalog, 20")
