"""Folders in a store that is no disk, such as ``s3://bucket/folder``, by fsspec: copied here, and copied there.

The work itself needs a disk: a file takes another's place in one step there, and in a store it does not.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec

from mpod_pipeline.base.atomic import whole_file
from mpod_pipeline.base.errors import SetupError

#: What a folder's files are known by, beside them.
MANIFEST = ".mpod_manifest.json"
#: Addresses whose files cannot be listed.
UNLISTED = ("http", "https", "data")
#: Stores in which a file's name is all there is of folders.
WITHOUT_FOLDERS = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
#: What a file is known by, where the store says it; else its size and its time.
TAGS = ("ETag", "etag", "md5Hash", "content_md5", "sha256")
TIMES = ("LastModified", "mtime", "last_modified", "updated", "created")

Options = Mapping[str, Any]


def is_address(place: object) -> bool:
    """Whether a place is a folder in a store: ``s3://...``, ``gs://...``, ``abfs://...``."""
    protocol, found, _ = str(place).partition("://")
    return bool(found) and protocol not in UNLISTED


def copy_of(address: str, kind: str = "") -> Path:
    """Where on this machine the copy of a store's folder is. kind: of the copies that are kept apart."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    name = PurePosixPath(address).name or "store"
    return cache / "mpod_pipeline" / kind / f"{name}-{hashlib.sha256(address.rstrip('/').encode()).hexdigest()[:12]}"


def fetch(address: str, options: Options) -> Path:
    """Bring the copy of a store's folder up to date, and say where it is. One listing; then the files whose tag, or
    size and time, are not those of before. Those that are gone there go here.

    Raises SetupError where the store cannot be reached, has no such folder, or the disk cannot be written.
    """
    copy = copy_of(address)
    with told(address):
        store, root = open_store(address, options)
        there = {name: _known_by(found) for name, found in listed(store, root).items()}
        if not there:
            raise SetupError(f"There is no file in {address}.")
        here = _read(copy / MANIFEST)
        for name in set(here) - set(there):
            within(copy, name).unlink(missing_ok=True)
        for name, tag in there.items():
            target = within(copy, name)
            if here.get(name) != tag or not target.is_file():
                with whole_file(target) as path:
                    store.get_file(f"{root}/{name}", str(path))
        with whole_file(copy / MANIFEST) as path:
            path.write_text(json.dumps(there))
    return copy


def send(folders: Mapping[str, Path], address: str, options: Options) -> int:
    """Make a store's folder hold these folders by their names; how many files were sent. What has not changed since it
    was last sent is not sent again; files come first, then the list of them, and last go those that are no more.

    Raises SetupError where the store cannot be reached or written.
    """
    with told(address):
        store, root = open_store(address, options)
        before = json.loads(store.cat_file(f"{root}/{MANIFEST}")) if store.exists(f"{root}/{MANIFEST}") else {}
        files = {
            f"{name}/{path.relative_to(folder).as_posix()}": path
            for name, folder in folders.items()
            for path in sorted(folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".")
        }
        now = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
        changed = [name for name in files if before.get(name) != now[name]]
        for name in sorted(changed, key=lambda each: each.endswith((".html", "catalog.js"))):  # which name the others
            make_folder(store, address, str(PurePosixPath(root, name).parent))
            store.put_file(str(files[name]), f"{root}/{name}")
        store.pipe_file(f"{root}/{MANIFEST}", json.dumps(now).encode())
        for name in set(before) - set(now):
            if store.exists(f"{root}/{name}"):
                store.rm_file(f"{root}/{name}")
        return len(changed)


def require(address: str, options: Options) -> None:
    """Raise SetupError, before any work, where a store cannot be reached or its package is not there."""
    with told(address):
        store, root = open_store(address, options)
        listed(store, root)


def open_store(address: str, options: Options) -> tuple[Any, str]:
    """The store as fsspec opens it, and the folder's path in it."""
    store, root = fsspec.core.url_to_fs(address, use_listings_cache=False, **options)
    return store, root.rstrip("/")


def make_folder(store: Any, address: str, path: str) -> None:
    """Where files need a folder to be in. Elsewhere fsspec would make a bucket of a mistyped name."""
    if address.partition("://")[0] not in WITHOUT_FOLDERS:
        store.makedirs(path, exist_ok=True)


def listed(store: Any, root: str) -> dict[str, dict[str, Any]]:
    """What the store says of each file in a folder, by its place in it. Hidden ones are not in it."""
    try:
        found = store.find(root, detail=True)
    except FileNotFoundError:
        return {}
    names = {name: PurePosixPath(name).relative_to(root).as_posix() for name in found if name.rstrip("/") != root}
    return {
        place: found[name]
        for name, place in names.items()
        if not any(part.startswith(".") for part in PurePosixPath(place).parts)
    }


def _known_by(found: Mapping[str, Any]) -> str:
    tag = next((str(found[name]) for name in TAGS if found.get(name)), "")
    time = next((str(found[name]) for name in TIMES if found.get(name)), "")
    return tag or f"{found.get('size')} {time}"


def _read(manifest: Path) -> dict[str, str]:
    try:
        found = json.loads(manifest.read_text())
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}


def within(folder: Path, name: str) -> Path:
    """Raises SetupError for a name that leads elsewhere, as no disk has one."""
    if ".." in PurePosixPath(name).parts or "\0" in name:
        raise SetupError(f"The store has a file {name!r}, whose name is no file's on a disk; rename it there.")
    return folder / name


@contextmanager
def told(address: str) -> Iterator[None]:
    """Let what goes wrong with a store end the command in a sentence."""
    try:
        yield
    except (SetupError, MemoryError):
        raise
    except ImportError as error:
        raise SetupError(f"{address} needs a package that is not installed: {error}.") from error
    except Exception as error:  # each store has errors of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SetupError(f"{address} cannot be used: {reason}.") from error
