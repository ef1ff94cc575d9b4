"""A folder holds what it was told to hold."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mpod_pipeline.datasets import FolderOfFiles


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_files_come_and_go(tmp_path: Path) -> None:
    (tmp_path / "made.glb").write_bytes(b"model")
    folder = tmp_path / "published"
    dataset = FolderOfFiles(folder=str(folder), others=False)
    dataset.save({"web/mug.glb": tmp_path / "made.glb", "feed.tsv": b"id\n"})
    assert files_in(dataset.load()) == {"web/mug.glb": b"model", "feed.tsv": b"id\n"}
    dataset.save({"google/mug.glb": tmp_path / "made.glb"})
    assert files_in(folder) == {"google/mug.glb": b"model"}
    assert not (folder / "web").exists()
    assert (tmp_path / "made.glb").read_bytes() == b"model"


def test_a_file_that_was_made_anew_takes_the_old_ones_place(tmp_path: Path) -> None:
    dataset = FolderOfFiles(folder=str(tmp_path / "published"), others=False)
    for content in (b"old", b"new"):
        (tmp_path / "aside").write_bytes(content)
        (tmp_path / "aside").replace(tmp_path / "made.glb")  # as artifacts are written
        before = files_in(tmp_path / "published") if content == b"new" else {}
        assert before in ({}, {"mug.glb": b"old"})
        dataset.save({"mug.glb": tmp_path / "made.glb"})
        assert files_in(tmp_path / "published") == {"mug.glb": content}


def test_what_is_so_already_is_left_alone(tmp_path: Path) -> None:
    dataset = FolderOfFiles(folder=str(tmp_path), others=True)
    dataset.save({"index.html": b"page"})
    before = (tmp_path / "index.html").stat().st_mtime_ns
    dataset.save({"index.html": b"page", "more.css": b""})
    assert (tmp_path / "index.html").stat().st_mtime_ns == before


@pytest.mark.parametrize("others", [True, False])
def test_others_may_stay_where_they_are_wanted(tmp_path: Path, others: bool) -> None:
    (tmp_path / "products").mkdir()
    (tmp_path / "products/mug.js").write_bytes(b"mug")
    FolderOfFiles(folder=str(tmp_path), others=others, page="index.html").save({"index.html": b"page"})
    assert ("products/mug.js" in files_in(tmp_path)) == others


def test_what_a_page_is_opened_by_is_its_path(tmp_path: Path) -> None:
    assert FolderOfFiles(folder=str(tmp_path), others=True, page="index.html").path == tmp_path / "index.html"
    assert FolderOfFiles(folder=str(tmp_path), others=True).path == tmp_path


def test_kedro_viz_says_where_the_page_is(tmp_path: Path) -> None:
    folder = FolderOfFiles(folder=str(tmp_path / "site"), others=True, page="index.html")
    folder.save({"index.html": b"page", "products/mug.js": b"mug"})
    said = json.loads(folder.preview())
    assert said == {"open": (tmp_path / "site/index.html").as_uri(), "files": 2}
