"""`kedro review`: serves the page of a workspace's models on this machine, and writes down what people decide there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from kedro.config import AbstractConfigLoader
from kedro.io import DataCatalog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.text import readable
from mpod_pipeline.hooks.workspace import stored_workspace
from mpod_pipeline.publish.decisions import Decision, Verdict, add_decision, model_hash, read_decisions

HOST = "127.0.0.1"
#: Under these names a browser of this machine asks for the page; under another, some other page has sent it.
OWN_NAMES = ("127.0.0.1", "localhost")
DECISIONS = "/api/decisions"
#: The parts of a workspace that are shown.
REVIEWED = ("07_model_output/meshes/", "08_reporting/site/")
MOST_BYTES = 10_000
#: The page loads nothing from elsewhere, and runs no script that stands in a text. (The viewer has WebAssembly in it.)
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; worker-src blob:; "
    "img-src 'self' data: blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


class _Said(BaseModel):
    """What the page sends."""

    model_config = ConfigDict(extra="forbid")

    product: str = Field(max_length=255)
    model: str = Field(max_length=64)
    decision: Verdict
    reason: str = Field("", max_length=500)


class ReviewServer(ThreadingHTTPServer):
    """The page's files, and the decisions under ``/api/decisions``: GET gives all, POST adds one.

    site: the page's folder. decisions: the table of decisions. meshes: the models' GLBs, by product. who: decides.
    deciding: round each writing of a decision.

    Raises SetupError where there is no page yet, or the port is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        site: Path,
        decisions: Path,
        meshes: Mapping[str, Any],
        who: str,
        port: int,
        deciding: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        if not (site / "index.html").is_file():
            raise SetupError(f"There is no page in {site} yet; make it by: kedro run --pipeline=publish")
        read_decisions(decisions)  # one that cannot be read is told now
        self.site, self.decisions, self.meshes, self.who = site, decisions, meshes, who
        self.writing, self.deciding = Lock(), deciding
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise SetupError(f"The page cannot be served at port {port}: {error.strerror}. Try --port=0.") from error

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def decide(self, said: _Said) -> Decision:
        """Write it down. Raises ValueError, in a sentence, where it is not about the model that there is."""
        if said.product not in self.meshes:
            raise ValueError(f"There is no model of {readable(said.product)}.")
        if model_hash(self.meshes[said.product]()) != said.model:
            raise ValueError("This model was made anew since the page: run kedro run --pipeline=publish, and reload.")
        if said.decision == "rejected" and not said.reason:
            raise ValueError("A rejection needs a reason.")
        decision = Decision(said.product, said.model, said.decision, readable(said.reason), self.who)
        with self.writing, self.deciding():
            add_decision(self.decisions, decision)
        return decision


class _Handler(SimpleHTTPRequestHandler):
    server: ReviewServer

    def __init__(self, request: Any, client: Any, server: ReviewServer) -> None:
        super().__init__(request, client, server, directory=str(server.site))

    def do_GET(self) -> None:
        if not self._is_own():
            return self._answer(HTTPStatus.FORBIDDEN, {"error": "Open the page under its own address."})
        if urlsplit(self.path).path != DECISIONS:
            return super().do_GET()
        try:
            decisions = read_decisions(self.server.decisions)
        except SetupError as error:
            return self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": str(error)})
        return self._answer(HTTPStatus.OK, {"who": self.server.who, "decisions": [asdict(each) for each in decisions]})

    def do_POST(self) -> None:
        if not self._is_own() or self.headers.get_content_type() != "application/json":
            return self._answer(HTTPStatus.FORBIDDEN, {"error": "Decisions come from the page alone."})
        said = self.headers.get("Content-Length", "")
        length = int(said) if said.isdigit() else 0
        if urlsplit(self.path).path != DECISIONS or not 0 < length <= MOST_BYTES:
            return self._answer(HTTPStatus.BAD_REQUEST, {"error": "This is no decision."})
        try:
            decision = self.server.decide(_Said.model_validate_json(self.rfile.read(length)))
        except ValidationError:
            return self._answer(HTTPStatus.BAD_REQUEST, {"error": "This is no decision."})
        except (ValueError, OSError, SetupError) as error:
            return self._answer(HTTPStatus.CONFLICT, {"error": str(error)})
        return self._answer(HTTPStatus.OK, asdict(decision))

    def _is_own(self) -> bool:
        """Whether the page itself asks: a page from elsewhere could send a browser here."""
        asked = urlsplit(f"//{self.headers.get('Host', '')}").hostname
        origin = self.headers.get("Origin")
        return asked in OWN_NAMES and (origin is None or urlsplit(origin).hostname in OWN_NAMES)

    def _answer(self, status: HTTPStatus, said: Mapping[str, Any]) -> None:
        data = json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def end_headers(self) -> None:
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: each picture would be a line."""


def review_server(loader: AbstractConfigLoader, who: str, port: int) -> ReviewServer:
    """For the workspace of a project's settings. Of one in a store, it fetches what it shows, and sends decisions."""
    names = ("site", "decisions", "meshes")
    if stored := stored_workspace(loader):
        stored.look(only=REVIEWED)
        stored.share_decisions()
    catalog = DataCatalog.from_config({name: loader["catalog"][name] for name in names})
    decisions: Any = catalog["decisions"]
    deciding = stored.deciding if stored else nullcontext
    return ReviewServer(catalog.load("site"), decisions.path, catalog.load("meshes"), who, port, deciding)
