"""Where a stage's tasks are done."""

from __future__ import annotations

from collections.abc import Callable

from mpod_pipeline.batch.isolation import Outcome, Task, Work, attempt
from mpod_pipeline.report import Report


class InProcess:
    """Tasks are done one at a time in this process. The work (its models) is opened when the first task
    comes.
    """

    def __init__(self, open_work: Callable[[], Work]) -> None:
        self._open_work = open_work
        self._work: Work | None = None

    def do(self, task: Task, report: Report) -> Outcome:
        if self._work is None:
            self._work = self._open_work()
        return attempt(self._work, task, report)
