"""One run at a time in a workspace."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from pathlib import Path

from pydantic import BaseModel, ValidationError

from mpod_pipeline.base.errors import SetupError

#: Who only looks holds the lock for an instant; a run that begins just then tries again, so often and after so long.
TRIES = 3
WAIT_S = 0.1


class Holder(BaseModel):
    """The run that has a workspace's lock."""

    run: str
    process: int
    machine: str

    def __str__(self) -> str:
        return f"run {self.run}, process {self.process} on {self.machine}"


def this_process(run_id: str) -> Holder:
    """As the holder of a lock."""
    return Holder(run=run_id, process=os.getpid(), machine=socket.gethostname())


class WorkspaceLock:
    """A lock that the system itself takes back when its holder dies, so a dead run never blocks the next.

    The file stays; its text only says who holds the lock or held it last.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, run_id: str) -> None:
        """Take the lock, or raise SetupError at once if another run has it, or the workspace cannot be written."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise SetupError(
                f"The workspace cannot be written: {error.filename}: {error.strerror}. Choose another one by "
                "--params=workspace=FOLDER."
            ) from error
        if not _lock(descriptor, fcntl.LOCK_EX):
            holder = _holder(descriptor)
            os.close(descriptor)
            raise SetupError(
                f"Another run is at work in this workspace ({holder or 'it does not say which'}); wait for it to end, "
                "or choose another workspace by --params=workspace=FOLDER."
            )
        os.ftruncate(descriptor, 0)
        os.write(descriptor, this_process(run_id).model_dump_json().encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def who_holds(path: Path) -> Holder | None:
    """The run that has the lock now; None if none has, as far as one that only looks can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return None if _lock(descriptor, fcntl.LOCK_SH) else _holder(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    for attempt in range(TRIES):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < TRIES - 1:
                time.sleep(WAIT_S)
        else:
            return True
    return False


def _holder(descriptor: int) -> Holder | None:
    try:
        return Holder.model_validate_json(os.read(descriptor, 10_000))
    except (OSError, ValidationError):
        return None
