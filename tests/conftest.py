"""What tests of several folders need."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

NODE_FOLDER = Path(__file__).parent / ".node"
NODE_PACKAGES = ("gltf-validator@2.0.0-dev.3.10", "gltfpack@1.3.0")
VALIDATE = """
const validator = require('gltf-validator');
const data = new Uint8Array(require('fs').readFileSync(process.argv[1]));
validator.validateBytes(data).then(report => console.log(JSON.stringify(report)));
"""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several processes the long files come first, or at the end one process would wait for the other: those with
    slow tests, then those that test the whole program, beside this one.
    """
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: (item.path not in slow, len(item.path.parts)))


def from_npm(package: str) -> Path | None:
    """The folder of a package of npm, kept beside the tests; None where it cannot be had."""
    folder = NODE_FOLDER / "node_modules" / package
    if not (shutil.which("node") and shutil.which("npm")):
        return None
    if not folder.exists():
        NODE_FOLDER.mkdir(exist_ok=True)
        command = ["npm", "install", "--no-save", "--prefix", str(NODE_FOLDER), *NODE_PACKAGES]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        except subprocess.SubprocessError:  # npm tries for minutes where it has no network
            return None
    return folder


@pytest.fixture(scope="session")
def khronos_report() -> Callable[[Path], dict[str, Any]] | None:
    """What Khronos' validator says of a GLB. It comes from npm, kept beside the tests; None where it cannot."""
    if not from_npm("gltf-validator"):
        return None

    def report(glb: Path) -> dict[str, Any]:
        command = ["node", "-e", VALIDATE, str(glb)]
        done = subprocess.run(command, cwd=NODE_FOLDER, capture_output=True, text=True, check=True)
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    return report


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where copies of stores are kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(params=["memory", "s3"])
def store(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """A file system, an empty folder's address in it, and the options by which it is opened."""
    if request.param == "memory":
        memory = fsspec.filesystem("memory")
        memory.store.clear()
        yield memory, "memory://catalog/photos", {}
        return
    yield request.getfixturevalue("s3")


@pytest.fixture
def s3() -> Iterator[tuple[Any, str, dict[str, Any]]]:
    """S3 as moto serves it: a file system, an empty folder's address in it, and the options by which it is opened."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    options = {"key": "one", "secret": "two", "endpoint_url": f"http://127.0.0.1:{port}"}
    system = fsspec.filesystem("s3", **options, skip_instance_cache=True, use_listings_cache=False)
    system.mkdir(f"catalog-{port}")  # moto keeps buckets as long as the process lives
    yield system, f"s3://catalog-{port}/photos", options
    server.stop()
