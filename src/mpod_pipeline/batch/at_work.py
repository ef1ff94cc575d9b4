"""What this process is at work on, written down for the run that comes after a sudden death."""

from __future__ import annotations

import json
from pathlib import Path

from mpod_pipeline.batch.isolation import Task


class AtWork:
    """A small file that names the task under way. Where a run begins and finds one, its writer died at work: killed for
    its memory, or crashed in some library. (A run that is told to stop, or stopped by an error, takes the name out.)

    A task counts by its product and fingerprint: what has changed since may be tried afresh.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def deaths(self, task: Task) -> int:
        """How many runs, one after the other, died at work on the task."""
        return self._read().get(_name(task), 0)

    def begin(self, task: Task) -> None:
        tasks = self._read()
        self._write({**tasks, _name(task): tasks.get(_name(task), 0) + 1})

    def end(self, task: Task) -> None:
        self._write({name: deaths for name, deaths in self._read().items() if name != _name(task)})

    def _read(self) -> dict[str, int]:
        try:
            tasks: dict[str, int] = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):  # or cut off by a death in this very moment
            return {}
        return tasks

    def _write(self, tasks: dict[str, int]) -> None:
        if tasks:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(tasks))
        else:
            self._path.unlink(missing_ok=True)


def _name(task: Task) -> str:
    return f"{task.product} {task.fingerprint}"
