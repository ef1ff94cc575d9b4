"""What this process is at work on, written down for the run that comes after a sudden death."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, TypeAdapter, ValidationError

from mpod_pipeline.atomic import whole_file
from mpod_pipeline.batch.isolation import Task


class _Attempt(BaseModel):
    """fingerprint: of the task that was begun. begun: so many times without an end."""

    fingerprint: str
    begun: int


_ATTEMPTS = TypeAdapter(dict[str, _Attempt])


class AtWork:
    """A small file that names the task under way. Where a run finds one in it, an earlier run died at work on that:
    killed for its memory, or crashed in some library. (A run that is told to stop, or stopped by an error, takes the
    name out.) What a task depends on is part of its name: what has changed since may be tried afresh.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def deaths(self, task: Task) -> int:
        """How many attempts at the task were the end of their run."""
        return _begun(self._read(), task)

    def begin(self, task: Task) -> None:
        attempts = self._read()
        attempt = _Attempt(fingerprint=task.fingerprint, begun=_begun(attempts, task) + 1)
        self._write({**attempts, task.product: attempt})

    def end(self, task: Task) -> None:
        self._write({product: known for product, known in self._read().items() if product != task.product})

    def _read(self) -> dict[str, _Attempt]:
        try:
            return _ATTEMPTS.validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return {}

    def _write(self, attempts: dict[str, _Attempt]) -> None:
        with suppress(OSError):  # a disk without room for this is told of where results are saved
            if attempts:
                with whole_file(self._path) as path:
                    path.write_bytes(_ATTEMPTS.dump_json(attempts))
            else:
                self._path.unlink(missing_ok=True)


def _begun(attempts: dict[str, _Attempt], task: Task) -> int:
    known = attempts.get(task.product)
    return known.begun if known and known.fingerprint == task.fingerprint else 0
