"""A mistake costs few lines and ends in a sentence; nothing is begun, and nothing is made that was not asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from kedro.framework.cli.cli import KedroCLI

from mpod_pipeline.hooks import preflight
from tests.command import ROOT
from tests.wrong_commands import MOST_LINES, WRONG, Wrong, expected, lay_out, with_settings, words


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wrong")
    lay_out(folder)
    return folder


@pytest.fixture(scope="module")
def kedro() -> Iterator[KedroCLI]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        yield KedroCLI(ROOT)


def everything(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if ".git" not in path.parts and "__pycache__" not in path.parts}


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: " ".join([wrong.command, *wrong.settings.values()]))
def test_a_mistake_costs_a_sentence(
    wrong: Wrong, here: Path, kedro: KedroCLI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def opened(*_: object) -> None:
        raise AssertionError("weights were opened")

    if "priors=" not in wrong.command:
        monkeypatch.setattr(preflight, "_checks", opened)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here / 'mlflow.db'}")
    command = [*words(wrong, here), *with_settings(wrong, here)]
    before = everything(ROOT / "conf") | set(ROOT.iterdir()) | set(here.rglob("*"))
    with caplog.at_level(logging.INFO):
        result = CliRunner().invoke(kedro, command, obj=kedro._metadata)
    lines = [*caplog.messages, *result.output.strip().splitlines()]
    assert result.exit_code == wrong.code, result.output + str(result.exception)
    assert len(lines) <= MOST_LINES
    assert lines[-1].startswith(("Error: ", "- ")) and lines[-1].endswith((".", "?", ".)", "?)", "priors=FOLDER"))
    for text in expected(wrong, here):
        assert text in lines[-1]
    after = everything(ROOT / "conf") | set(ROOT.iterdir()) | set(here.rglob("*"))
    asked_for = {path for path in after - before if path.is_relative_to(here / "workspace")}
    assert after - before == asked_for
