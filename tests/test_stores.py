"""Photos from a store, and what is published to one: fsspec's own store in memory, and S3 as moto serves it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.folders import folder
from mpod_pipeline.base.stores import MANIFEST, copy_of, fetch, is_address, require, send
from mpod_pipeline.publish.settings import PublishParameters

pytestmark = pytest.mark.usefixtures("cache")


def test_what_is_an_address() -> None:
    assert is_address("s3://bucket/folder") and is_address("gs://bucket")
    assert not any(map(is_address, ("/photos", "photos", "https://shop.example/photos", "C:\\photos", 7)))
    assert folder("photos", "s3://bucket/folder") == str(copy_of("s3://bucket/folder"))
    assert folder("workspace", "s3://bucket/folder") not in ("s3://bucket/folder", str(copy_of("s3://bucket/folder")))
    with pytest.raises(SetupError, match="an address"):
        folder("priors", "s3://bucket/folder")
    assert copy_of("s3://bucket/folder/") == copy_of("s3://bucket/folder") != copy_of("s3://other/folder")


def test_photos_are_fetched_once_and_follow_the_store(store: tuple[Any, str, dict[str, Any]]) -> None:
    system, address, options = store
    root = address.partition("://")[2]
    files = {"mug.png": b"a mug", "products.csv": b"id,photo\nmug,mug.png\n", "ground_truth/mug.glb": b"glb"}
    for name, content in files.items():
        system.pipe_file(f"{root}/{name}", content)
    system.pipe_file(f"{root}/.hidden", b"no photo")
    copy = fetch(address, options)
    assert {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()} == {*files, MANIFEST}
    assert all((copy / name).read_bytes() == content for name, content in files.items())

    def written() -> dict[str, int]:
        return {name: (copy / name).stat().st_mtime_ns for name in ("mug.png", "products.csv")}

    before = written()
    fetch(address, options)
    assert written() == before
    system.pipe_file(f"{root}/mug.png", b"another mug")
    system.rm_file(f"{root}/ground_truth/mug.glb")
    fetch(address, options)
    after = written()
    assert after["products.csv"] == before["products.csv"] and after["mug.png"] != before["mug.png"]
    assert (copy / "mug.png").read_bytes() == b"another mug" and not (copy / "ground_truth/mug.glb").exists()
    (copy / "products.csv").unlink()  # somebody cleaned up
    fetch(address, options)
    assert (copy / "products.csv").read_bytes() == files["products.csv"]


def test_a_store_holds_what_is_published_and_nothing_else(
    store: tuple[Any, str, dict[str, Any]], tmp_path: Path
) -> None:
    system, address, options = store
    root = address.partition("://")[2]
    system.pipe_file(f"{root}/of_another.txt", b"stays")
    for name, content in {
        "published/google/mug.glb": b"glb",
        "published/google/old.glb": b"old",
        "site/index.html": b"1",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folders = {name: tmp_path / name for name in ("published", "site")}
    assert send(folders, address, options) == 3
    assert system.cat_file(f"{root}/published/google/mug.glb") == b"glb"
    assert send(folders, address, options) == 0
    (tmp_path / "published/google/old.glb").unlink()
    (tmp_path / "site/index.html").write_bytes(b"2")
    assert send(folders, address, options) == 1
    assert system.cat_file(f"{root}/site/index.html") == b"2" and system.exists(f"{root}/of_another.txt")
    assert not system.exists(f"{root}/published/google/old.glb")


def test_what_cannot_be_used_is_told_in_a_sentence(store: tuple[Any, str, dict[str, Any]]) -> None:
    _, address, options = store
    with pytest.raises(SetupError, match=f"There is no file in {address}"):
        fetch(address, options)
    with pytest.raises(SetupError, match="nonesuch://somewhere cannot be used"):
        require("nonesuch://somewhere", {})
    with pytest.raises(ValueError, match="no address of a store"):
        PublishParameters(upload_to="/srv/models")


def test_a_name_that_leads_elsewhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mpod_pipeline.base import stores

    monkeypatch.setattr(stores, "listed", lambda store, root: {"../../evil.png": {"size": 1}})
    with pytest.raises(SetupError, match=r"evil\.png"):
        fetch("memory://catalog/photos", {})
    assert not list(tmp_path.rglob("evil.png"))
