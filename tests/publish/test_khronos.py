"""What Khronos' validator says gets into the gate, where it is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.geometry.document import Document
from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.npm import errors_in, find_validator
from mpod_pipeline.publish.steps import publish_google
from mpod_pipeline.publish.target import load_tools
from tests.conftest import NODE_FOLDER

NAN = b"\0\0\xc0\x7f"


@pytest.fixture
def validator(khronos_report: Any) -> Path:
    if khronos_report is None:
        pytest.skip("Khronos' validator needs node and npm, and the network once")
    return NODE_FOLDER / "node_modules/gltf-validator"


@pytest.fixture
def broken(glb: bytes) -> bytes:
    """A normal that is no number: nothing that our own checks look at."""
    document = Document.unpacked(glb)
    accessor = document.json["meshes"][0]["primitives"][0]["attributes"]["NORMAL"]
    view = document.json["accessors"][accessor]["bufferView"]
    document.views[view] = NAN + document.views[view][4:]
    return document.packed()


def test_a_good_file_has_no_error_and_a_bad_one_has(glb: bytes, broken: bytes, validator: Path) -> None:
    assert errors_in(glb, validator) == []
    (error,) = errors_in(broken, validator)
    assert "/accessors/" in error


@pytest.mark.parametrize("there", [True, False])
def test_the_gate_says_who_checked(broken: bytes, validator: Path, tmp_path: Path, there: bool) -> None:
    settings = publish_google.Settings(validator=validator if there else tmp_path / "nowhere")
    made = publish_google.make(load_tools(settings), Given("ball", {"mesh": broken}, settings))
    report = made["publish_google_checks"]
    assert report["checked_by"] == (["own checks", "Khronos' validator"] if there else ["own checks"])
    assert bool(report["wrong"]) == there
    assert all(sentence.startswith("Khronos' validator: ") for sentence in report["wrong"])


def test_a_validator_needs_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_validator(tmp_path / "nowhere") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SetupError, match=r"Node\.js"):
        find_validator(tmp_path)


def test_one_that_gives_up_is_the_products_failure(glb: bytes, validator: Path, tmp_path: Path) -> None:
    with pytest.raises(ProductError, match="gave up"):
        errors_in(glb, tmp_path)
