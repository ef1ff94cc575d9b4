"""One run at a time in a workspace."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from pathlib import Path

from mpod_pipeline.errors import SetupError


class WorkspaceLock:
    """A lock that the system itself takes back when its holder dies, so a dead run never blocks the next.

    The file stays; its text only says who holds the lock or held it last.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def acquire(self, run_id: str) -> None:
        """Take the lock, or raise SetupError at once if another run has it."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 1000).decode(errors="replace").strip()
            os.close(descriptor)
            raise SetupError(
                f"Another run is at work in this workspace ({holder}); wait for it to end, or choose another "
                "workspace by --params=workspace=FOLDER."
            ) from None
        holder = json.dumps({"run": run_id, "process": os.getpid(), "machine": socket.gethostname()})
        os.ftruncate(descriptor, 0)
        os.write(descriptor, holder.encode())
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the lock back; nothing happens if it is not held."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
