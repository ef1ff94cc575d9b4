"""`kedro review`'s server: the page, the decisions, and nobody else."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.cli import review
from mpod_pipeline.commands.review import ReviewServer
from mpod_pipeline.publish.decisions import model_hash, read_decisions
from tests.command import ROOT

GLB = b"a model"
APPROVED = {"product": "mug", "model": model_hash(GLB), "decision": "approved", "reason": ""}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ReviewServer]:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("the page")
    with ReviewServer(tmp_path / "site", tmp_path / "decisions.csv", {"mug": lambda: GLB}, "ana", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def ask(server: ReviewServer, path: str, data: Any = None, **headers: str) -> tuple[int, Any]:
    """Status, and what is said."""
    body = None if data is None else json.dumps(data).encode()
    sent = {"Content-Type": "application/json", **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(server.address + path, data=body, headers=sent)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text, status = answer.read().decode(), answer.status
    except HTTPError as error:
        text, status = error.read().decode(), error.code
    return status, json.loads(text) if text.startswith("{") else text


def test_the_page_is_served_and_loads_nothing_from_elsewhere(server: ReviewServer) -> None:
    with urllib.request.urlopen(server.address, timeout=10) as answer:
        assert answer.read() == b"the page"
        assert "default-src 'self'" in answer.headers["Content-Security-Policy"]


def test_a_decision_is_written_with_who_and_when(server: ReviewServer) -> None:
    status, said = ask(server, "api/decisions", APPROVED)
    assert status == 200 and said["who"] == "ana" and said["when"]
    (decision,) = read_decisions(server.decisions)
    assert (decision.product, decision.model, decision.decision) == ("mug", model_hash(GLB), "approved")
    assert ask(server, "api/decisions")[1]["decisions"] == [said]


@pytest.mark.parametrize(
    ("changed", "status", "said"),
    [
        ({"product": "shoe"}, 409, "There is no model of shoe."),
        ({"product": "../mug"}, 409, "There is no model of ../mug."),
        ({"model": "of before"}, 409, "This model was made anew since the page"),
        ({"decision": "rejected"}, 409, "A rejection needs a reason."),
        ({"decision": "perhaps"}, 400, "This is no decision."),
        ({"surplus": 1}, 400, "This is no decision."),
        ({"reason": "a" * 20_000}, 400, "This is no decision."),
    ],
)
def test_what_is_no_decision_is_refused(server: ReviewServer, changed: dict[str, Any], status: int, said: str) -> None:
    found = ask(server, "api/decisions", {**APPROVED, **changed})
    assert found[0] == status and found[1]["error"].startswith(said)
    assert not server.decisions.exists()


@pytest.mark.parametrize(
    "headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {"Content_Type": "text/plain"}]
)
def test_other_pages_cannot_decide(server: ReviewServer, headers: dict[str, str]) -> None:
    assert ask(server, "api/decisions", APPROVED, **headers)[0] == 403
    assert not server.decisions.exists()


def test_files_beside_the_page_are_not_served(server: ReviewServer) -> None:
    server.decisions.write_text("product,model,decision,reason,who,when\n")
    assert ask(server, "../decisions.csv")[0] == 404 and ask(server, "%2e%2e/decisions.csv")[0] == 404


def test_the_command_serves_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(self: ReviewServer) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReviewServer, "serve_forever", stopped)
    monkeypatch.chdir(ROOT)
    asked = [f"--params=workspace={tmp_path}", "--port=0"]
    refused = CliRunner().invoke(review, asked, obj=bootstrap_project(ROOT))
    assert refused.exit_code == 1 and "make it by: kedro run --pipeline=publish" in refused.output
    (tmp_path / "08_reporting/site").mkdir(parents=True)
    (tmp_path / "08_reporting/site/index.html").write_text("the page")
    served = CliRunner().invoke(review, asked, obj=bootstrap_project(ROOT))
    assert served.exit_code == 0 and "http://127.0.0.1:" in served.output
    assert str(tmp_path / "decisions.csv") in served.output


def test_without_a_page_the_command_says_what_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="kedro run --pipeline=publish"):
        ReviewServer(tmp_path, tmp_path / "decisions.csv", {}, "ana", 0)
