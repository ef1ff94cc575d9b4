from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.startup import ProjectMetadata, bootstrap_project
from kedro.io import DataCatalog, DatasetError

from mpod_pipeline.base import stopping
from mpod_pipeline.base.errors import SetupError, StoppedError
from mpod_pipeline.base.folders import folder
from mpod_pipeline.batch.records import Record
from mpod_pipeline.cli import config_loader, run, status
from mpod_pipeline.datasets import PhotoFolder, ProductPartitions
from mpod_pipeline.hooks.batch import TooManyFailuresError
from mpod_pipeline.hooks.checks import remark_on_local_settings
from mpod_pipeline.method.steps import STEPS
from mpod_pipeline.pipelines.catalog_to_3d import create_pipeline
from tests.command import environment

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    bootstrap_project(ROOT)


#: What a run needs and its checks do not: these take most of the ten seconds that a run takes to begin.
HEAVY = ("torch", "diffusers", "transformers", "numba", "onnxruntime")


@pytest.mark.parametrize(
    "command",
    [
        "run --params=photos={here}/absent",
        "run --params=photos={here}",
        "run --pipeline=segmnt",
        "run --params=outlin.steps=3",
        "run --env=nightli",
        "run --async",
        "status --params=photo={here}",
        "status --params=photos={here}/absent",
    ],
)
def test_cheap_mistakes_are_told_without_importing_what_computes(command: str, tmp_path: Path) -> None:
    code = f"""
import sys
from kedro.framework.cli.cli import main
sys.argv[1:] = {command.format(here=tmp_path).split()!r}
try:
    main()
except SystemExit as end:
    print(end.code, *set({HEAVY!r}) & set(sys.modules))
"""
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment(tmp_path), capture_output=True, text=True
    )
    assert told.stdout.splitlines()[-1] == "1", told.stdout + told.stderr
    assert "Error: " in told.stderr


def test_settings_that_another_environment_leaves_unread_are_named(tmp_path: Path) -> None:
    (tmp_path / "local").mkdir()
    assert remark_on_local_settings(tmp_path, "nightly") is None
    (tmp_path / "local/globals.yml").write_text("photos: /srv/photos")
    assert remark_on_local_settings(tmp_path, None) is None
    assert remark_on_local_settings(tmp_path, "local") is None
    remark = remark_on_local_settings(tmp_path, "nightly")
    assert remark == "With --env=nightly the settings in conf/local are not read (globals.yml)."


def parse(*texts: str) -> Any:
    words = [f"--params={text}" for text in texts]
    return run.make_context("run", words).params["params"]


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", {}),
        ("photos=/a b/c,workspace=d", {"photos": "/a b/c", "workspace": "d"}),
        ("products=[mug,shoe],force=true", {"products": ["mug", "shoe"], "force": True}),
        ("products=[0471,1_000,yes]", {"products": ["0471", "1_000", "yes"]}),
        ("products=0471", {"products": "0471"}),
        ("products=null", {"products": None}),
        ("outline.steps=20,detail.texture.size=512", {"outline": {"steps": 20}, "detail": {"texture": {"size": 512}}}),
        ("photos=2026,workspace=1e3,priors=0471", {"photos": "2026", "workspace": "1e3", "priors": "0471"}),
        ("photos='/srv/a,b',workspace=\"c]d\"", {"photos": "/srv/a,b", "workspace": "c]d"}),
        ("workspace=/srv/o'clock,force=true", {"workspace": "/srv/o'clock", "force": True}),
        ("products=['a,b',c d]", {"products": ["a,b", "c d"]}),
        ("outline.elevation_deg=[-10,45],photos=x", {"outline": {"elevation_deg": [-10, 45]}, "photos": "x"}),
    ],
)
def test_params_are_nested_and_take_lists(text: str, params: dict[str, Any]) -> None:
    assert parse(text) == params


def test_every_params_counts_and_the_last_one_wins() -> None:
    assert parse("photos=A,force=true", "workspace=B", "photos=C") == {"photos": "C", "force": True, "workspace": "B"}


def test_params_from_a_file_are_kept(tmp_path: Path) -> None:
    (tmp_path / "run.yml").write_text("run:\n  params: {outline: {steps: 3}}\n")
    context = run.make_context("run", [f"--config={tmp_path / 'run.yml'}"])
    assert context.params["params"] == {"outline": {"steps": 3}}


@pytest.mark.parametrize("text", ["photos", "=x", "a=[1", "a=1]", "a={b: [1}", "a='b", "a=b: c: d"])
def test_params_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(click.UsageError, match="--params"):
        parse(text)


@pytest.mark.parametrize("name", ["photos", "workspace", "priors"])
def test_a_folder_of_a_run_may_be_under_the_home_folder(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert folder(name, "~/x y/z") == "/home/me/x y/z"
    assert folder(name, "data") == "data"
    for wrong in ("", 2026, 1e3, None, "C:\\x", "c:/x", "~nobody-of-that-name/x"):
        with pytest.raises(SetupError, match=name):
            folder(name, wrong)
    if name == "workspace":  # many of whose datasets are patterns
        with pytest.raises(SetupError, match="braces"):
            folder(name, "/srv/{x}")
    else:
        assert folder(name, "/srv/{x}") == "/srv/{x}"


def test_kedros_wrapping_does_not_hide_what_a_dataset_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalog wraps a dataset's error, and wraps it again."""
    catalog = DataCatalog({"photos": PhotoFolder(path="/no/photos")})
    monkeypatch.setattr(kedro_run, "callback", lambda *_, **__: catalog.load("photos"))
    result = CliRunner().invoke(run, [])
    assert (result.exit_code, result.output.count("\n")) == (1, 1)
    assert result.output.startswith("Error: The folder of photos /no/photos does not exist")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOTDIR, errno.EISDIR])
def test_trouble_with_a_file_is_told_with_its_path(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def ends(*arguments: object, **options: object) -> None:
        try:
            raise OSError(number, os.strerror(number), "/srv/workspace/x.png")
        except OSError as error:
            raise DatasetError("cutouts: Failed while saving data") from error

    monkeypatch.setattr(kedro_run, "callback", ends)
    result = CliRunner().invoke(run, [])
    assert (result.exit_code, result.output) == (1, f"Error: /srv/workspace/x.png: {os.strerror(number)}.\n")


def test_status_knows_the_settings_of_an_environment(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    (tmp_path / "conf/mine").mkdir()
    (tmp_path / "conf/mine/globals.yml").write_text("photo: /srv")
    with pytest.raises(SetupError, match=r"conf/mine/globals\.yml names 'photo'.*did you mean 'photos'"):
        config_loader(tmp_path, "mine", {})
    (tmp_path / "conf/mine/globals.yml").write_text("photos: ~/photos")
    path = config_loader(tmp_path, "mine", {})["catalog"]["photos"]["path"]
    assert path == str(Path.home() / "photos")


def test_every_other_option_is_kedros_own() -> None:
    assert {option.name for option in run.params} == {option.name for option in kedro_run.params}


def test_the_help_offers_nothing_that_is_refused() -> None:
    told = CliRunner().invoke(run, ["--help"]).output
    assert "ThreadRunner" in told and "--nodes" in told
    for refused in ("--async", "ParallelRunner", "--only-missing-outputs", "--load-versions"):
        assert refused not in told


def project() -> ProjectMetadata:
    """The project as Kedro hands it to its commands."""
    return bootstrap_project(ROOT)


def test_status_shows_the_catalog(tmp_path: Path) -> None:
    (tmp_path / "mug.jpg").touch()
    records = ProductPartitions(path=str(tmp_path / "workspace/08_reporting/records/segment"), format="json")
    record = Record(product="mug", step="segment", state="failed", fingerprint="", message="It is blank.")
    records.save({"mug": record.to_json()})
    params = f"--params=photos={tmp_path},workspace={tmp_path / 'workspace'}"
    result = CliRunner().invoke(status, [params], obj=project())
    assert result.exit_code == 0, result.output
    assert "segment: It is blank." in result.output
    assert "1 product: 0 complete, 1 failed, 0 unfinished" in result.output
    assert f"photos:    {tmp_path}\nworkspace: {tmp_path / 'workspace'}\n" in result.output
    told = json.loads(CliRunner().invoke(status, [params, "--format=json"], obj=project()).output)
    assert told["products"][0]["steps"]["segment"]["message"] == "It is blank."


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
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, told: str
) -> None:
    def ends(*arguments: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(kedro_run, "callback", ends)
    result = CliRunner().invoke(run, [])
    assert (result.exit_code, result.output) == (code, told)
    assert not isinstance(result.exception, type(error)) or isinstance(error, TypeError)


def test_relative_paths_in_settings_mean_the_projects_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(kedro_run, "callback", lambda *_, **__: seen.append(Path.cwd()))
    monkeypatch.chdir(ROOT / "notebooks")
    assert CliRunner().invoke(run, []).exit_code == 0
    assert seen == [ROOT]


def test_what_ends_a_run_in_good_order(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    kept = {kind: signal.getsignal(kind) for kind in kinds}
    monkeypatch.setattr(kedro_run, "callback", lambda *_, **__: seen.append([signal.getsignal(kind) for kind in kinds]))
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # under nohup
        assert CliRunner().invoke(run, []).exit_code == 0
        assert seen == [[stopping._interrupt, stopping._interrupt, signal.SIG_IGN]]
        after = [signal.getsignal(kind) for kind in kinds]
        assert after == [kept[signal.SIGINT], kept[signal.SIGTERM], signal.SIG_IGN]
    finally:
        for kind, handler in kept.items():
            signal.signal(kind, handler)


def test_the_pipeline_has_the_methods_steps_in_their_order() -> None:
    names = [step.name for step in STEPS]
    assert [node.name for node in create_pipeline().nodes] == [*names, "tabulate_scores"]
