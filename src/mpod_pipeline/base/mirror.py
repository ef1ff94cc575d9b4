"""A store's folder that is worked on in a copy on this machine's disk: brought up to date, and sent back."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple, TypeVar

from pydantic import TypeAdapter, ValidationError

from mpod_pipeline.base.atomic import whole_file
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.files import sha256_of
from mpod_pipeline.base.stores import MANIFEST, Options, listed, make_folder, open_store, told, within

#: Files on their way at a time: a store takes many small ones one by one in hours.
AT_A_TIME = 16

_Result = TypeVar("_Result")


class FileState(NamedTuple):
    """What a file is known by. Size and time alone tell whether a file here is still the one that was known."""

    size: int
    mtime_ns: int
    sha256: str

    def is_at(self, path: Path) -> bool:
        return _stat(path) == (self.size, self.mtime_ns)


States = dict[str, FileState]
_STATES = TypeAdapter(States)
#: Of a file that the store has, and no manifest knows.
UNKNOWN = FileState(-1, 0, "")


class Mirror:
    """The copy of a store's folder.

    In both places a manifest lies beside the files. The store's says what it has; the copy's, what the two had in
    common last. So it is known who has changed a file since. Of one that both have changed, the store's counts.

    address: the store's folder. folder: the copy's. late: whether a file vouches for others, and is sent after them.
    apart: files that are no part of this.
    """

    def __init__(
        self, address: str, folder: Path, options: Options, *, late: Callable[[str], bool], apart: Iterable[str] = ()
    ) -> None:
        self.address = address
        self.folder = folder
        self._options = options
        self._late = late
        self._apart = frozenset(apart)

    def bring(self, only: tuple[str, ...] = ()) -> int:
        """Fetch what the store has and the copy has not; how many files came. What only the copy has changed stays.

        only: what the names of the files to be fetched begin with; without it, all.

        Raises SetupError where the store cannot be reached, or the disk cannot be written.
        """
        with told(self.address), self.in_turn():
            there, common = self._there(), self._common()
            due = [
                name
                for name, state in there.items()
                if name.startswith(only or "") and self._lacks(name, state, common.get(name))
            ]
            for name in set(common) - set(there):
                known = common.pop(name)
                if known.is_at(self.folder / name):
                    (self.folder / name).unlink()
            fetched = _each(lambda name: self._get(name, there[name]), due)
            known_here = {name: state for name, state in there.items() if state.is_at(self.folder / name)}
            self._keep({**common, **known_here, **dict(zip(due, fetched, strict=True))})
            return len(due)

    def send(self) -> int:
        """Bring what the copy has changed to the store; how many files went. First those that others vouch for, then
        those that vouch, then the manifest; last go those that are no more. Between, the store is between two states.

        Raises SetupError where the store cannot be reached or written.
        """
        with told(self.address), self.in_turn():
            there, common = self._there(), self._common()
            now = {name: _state(self.folder / name, common.get(name)) for name in self._names()}
            states = {name: state for name, state in now.items() if state}
            changed = [
                name for name, state in states.items() if self._is_news(state, common.get(name), there.get(name))
            ]
            gone = {name for name in common if name not in states}
            self._make_folders(changed)
            for late in (False, True):
                _each(self._put, [name for name in changed if self._late(name) == late])
            manifest = {name: state for name, state in {**there, **states}.items() if name not in gone}
            if manifest != there:
                self.write(MANIFEST, _STATES.dump_json(manifest))
            self._remove(gone)
            self._keep(states)
            return len(changed)

    def read(self, name: str) -> bytes:
        """A file's bytes in the store; none where it has no such file."""
        with told(self.address):
            store, root = open_store(self.address, self._options)
            try:
                content: bytes = store.cat_file(f"{root}/{name}")
            except FileNotFoundError:
                return b""
            return content

    def write(self, name: str, content: bytes) -> None:
        with told(self.address):
            store, root = open_store(self.address, self._options)
            make_folder(store, self.address, root)
            store.pipe_file(f"{root}/{name}", content)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """One process of this machine at a time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.folder / ".mpod_turn", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _lacks(self, name: str, there: FileState, common: FileState | None) -> bool:
        path = within(self.folder, name)
        return not path.is_file() or (common != there and not there.is_at(path))

    @staticmethod
    def _is_news(here: FileState, common: FileState | None, there: FileState | None) -> bool:
        """Whether the store has not got a file. (It has what the two have in common, whatever its manifest says.)"""
        return here != common and (there is None or there.sha256 != here.sha256)

    def _there(self) -> States:
        """The store's manifest; of a folder that somebody has copied there, all files, as yet unknown."""
        content = self.read(MANIFEST)
        try:
            states = _STATES.validate_json(content) if content else self._unknown()
        except ValidationError as error:
            raise SetupError(f"{self.address}/{MANIFEST} is no workspace's; choose another folder.") from error
        return {name: state for name, state in states.items() if self._is_part(name)}

    def _unknown(self) -> States:
        store, root = open_store(self.address, self._options)
        return dict.fromkeys(listed(store, root), UNKNOWN)

    def _common(self) -> States:
        try:
            return _STATES.validate_json((self.folder / MANIFEST).read_bytes())
        except (OSError, ValidationError):
            return {}  # as if nothing were known: what differs is fetched

    def _keep(self, states: Mapping[str, FileState]) -> None:
        with whole_file(self.folder / MANIFEST) as path:
            path.write_bytes(_STATES.dump_json(dict(states)))

    def _names(self) -> Iterator[str]:
        for folder, inner, files in os.walk(self.folder):
            inner[:] = [name for name in inner if not name.startswith(".")]
            names = (Path(folder, name).relative_to(self.folder).as_posix() for name in files)
            yield from filter(self._is_part, names)

    def _is_part(self, name: str) -> bool:
        return name not in self._apart and not any(part.startswith(".") for part in PurePosixPath(name).parts)

    def _get(self, name: str, known: FileState) -> FileState:
        """Fetch a file; what it turned out to be. (A send that was broken off leaves newer ones than its manifest.)"""
        store, root = open_store(self.address, self._options)
        target = self.folder / name
        try:
            with whole_file(target) as path:
                store.get_file(f"{root}/{name}", str(path))
                if (digest := sha256_of(path)) == known.sha256:
                    os.utime(path, ns=(known.mtime_ns, known.mtime_ns))  # or each step would read it again
        except FileNotFoundError:  # somebody took it out: the next `send` takes it from the manifest
            return known
        found = target.stat()
        return FileState(found.st_size, found.st_mtime_ns, digest)

    def _make_folders(self, names: Iterable[str]) -> None:
        store, root = open_store(self.address, self._options)
        for folder in {str(PurePosixPath(root, name).parent) for name in names}:
            make_folder(store, self.address, folder)

    def _put(self, name: str) -> None:
        store, root = open_store(self.address, self._options)
        try:
            store.put_file(str(self.folder / name), f"{root}/{name}")
        except FileNotFoundError:
            if (self.folder / name).exists():
                raise  # else it went meanwhile, as checkpoints do

    def _remove(self, names: Iterable[str]) -> None:
        store, root = open_store(self.address, self._options)
        for name in names:
            if store.exists(f"{root}/{name}"):
                store.rm_file(f"{root}/{name}")


def _each(what: Callable[[str], _Result], names: list[str]) -> list[_Result]:
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        return list(threads.map(what, names))


def _stat(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def _state(path: Path, known: FileState | None) -> FileState | None:
    """What a file is now; None for one that went meanwhile."""
    if known and known.is_at(path):
        return known
    try:
        found = path.stat()
        return FileState(found.st_size, found.st_mtime_ns, sha256_of(path))
    except OSError:
        return None
