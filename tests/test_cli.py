from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.startup import ProjectMetadata, bootstrap_project

from mpod_pipeline.batch.records import Record
from mpod_pipeline.cli import run, split_params, status
from mpod_pipeline.datasets import ProductPartitions
from mpod_pipeline.errors import SetupError, StoppedError
from mpod_pipeline.hooks import TooManyFailuresError
from mpod_pipeline.pipelines import STAGES
from mpod_pipeline.pipelines.catalog_to_3d import create_pipeline

ROOT = Path(__file__).parents[1]


@pytest.fixture
def signals_kept() -> Iterator[None]:
    kept = {told: signal.getsignal(told) for told in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for told, handler in kept.items():
        signal.signal(told, handler)


def parse(text: str) -> Any:
    return split_params(click.Context(run), run.params[-1], text)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", {}),
        ("photos=/a b/c,workspace=d", {"photos": "/a b/c", "workspace": "d"}),
        ("products=[mug,shoe],force=true", {"products": ["mug", "shoe"], "force": True}),
        ("products=[0471,1_000,yes]", {"products": ["0471", "1_000", "yes"]}),
        ("products=0471", {"products": "0471"}),
        ("products=null", {"products": None}),
        (
            "outline.steps=20,detail.texture.size=512",
            {"outline": {"steps": 20}, "detail": {"texture": {"size": 512}}},
        ),
    ],
)
def test_params_are_nested_and_take_lists(text: str, params: dict[str, Any]) -> None:
    assert parse(text) == params


@pytest.mark.parametrize("text", ["photos", "=x"])
def test_params_without_a_key_or_a_value_are_refused(text: str) -> None:
    with pytest.raises(click.UsageError):
        parse(text)


def test_every_other_option_is_kedros_own() -> None:
    assert {option.name for option in run.params} == {option.name for option in kedro_run.params}


def project() -> ProjectMetadata:
    """The project as Kedro hands it to its commands."""
    return bootstrap_project(ROOT)


def test_status_shows_the_catalog(tmp_path: Path) -> None:
    (tmp_path / "mug.jpg").touch()
    records = ProductPartitions(path=str(tmp_path / "workspace/08_reporting/records/segment"), format="json")
    record = Record(product="mug", stage="segment", state="failed", fingerprint="", message="It is blank.")
    records.save({"mug": record.to_json()})
    params = f"--params=photos={tmp_path},workspace={tmp_path / 'workspace'}"
    result = CliRunner().invoke(status, [params], obj=project())
    assert result.exit_code == 0, result.output
    assert "segment: It is blank." in result.output
    assert "1 product: 0 complete, 1 failed, 0 unfinished" in result.output
    assert f"photos:    {tmp_path}\nworkspace: {tmp_path / 'workspace'}\n" in result.output
    told = json.loads(CliRunner().invoke(status, [params, "--format=json"], obj=project()).output)
    assert told["products"][0]["stages"]["segment"]["message"] == "It is blank."


def test_status_says_where_there_are_no_photos(tmp_path: Path) -> None:
    result = CliRunner().invoke(status, [f"--params=photos={tmp_path / 'absent'}"], obj=project())
    assert result.exit_code == 1
    assert result.output.startswith("Error: The folder of photos")


def test_commands_that_only_look_do_not_wait_for_pytorch() -> None:
    code = "import sys, mpod_pipeline.cli, mpod_pipeline.settings; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split()[-1] == "False"


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        (TooManyFailuresError("Half of them failed."), 3, "Error: Half of them failed.\n"),
        (SetupError("There are no weights."), 1, "Error: There are no weights.\n"),
        (StoppedError("The run was told to stop."), 130, "Error: The run was told to stop.\n"),
        (KeyboardInterrupt(), 130, "Error: Told to stop.\n"),
        (TypeError("a bug"), 1, ""),
    ],
)
def test_exit_codes_tell_how_a_run_ended(
    monkeypatch: pytest.MonkeyPatch, signals_kept: None, error: BaseException, code: int, told: str
) -> None:
    def ends(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(kedro_run, "callback", ends)
    result = CliRunner().invoke(run, [])
    assert (result.exit_code, result.output) == (code, told)
    assert not isinstance(result.exception, type(error)) or isinstance(error, TypeError)


def test_relative_paths_in_settings_mean_the_projects_folder(
    monkeypatch: pytest.MonkeyPatch, signals_kept: None
) -> None:
    seen = []
    monkeypatch.setattr(kedro_run, "callback", lambda *_, **__: seen.append(Path.cwd()))
    monkeypatch.chdir(ROOT / "notebooks")
    assert CliRunner().invoke(run, []).exit_code == 0
    assert seen == [ROOT]


def test_what_ends_a_run_in_good_order(monkeypatch: pytest.MonkeyPatch, signals_kept: None) -> None:
    seen = []
    kinds = (signal.SIGTERM, signal.SIGHUP)
    monkeypatch.setattr(
        kedro_run, "callback", lambda *_, **__: seen.append([signal.getsignal(kind) for kind in kinds])
    )
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # under nohup
    assert CliRunner().invoke(run, []).exit_code == 0
    assert seen == [[signal.default_int_handler, signal.SIG_IGN]]


def test_the_road_has_the_stages_that_its_name_list_says() -> None:
    assert [node.name for node in create_pipeline().nodes] == list(STAGES)
