"""Where a step's tasks are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Protocol

from mpod_pipeline.batch.isolation import Outcome, Task, Work, attempt
from mpod_pipeline.batch.parameters import ExecutorParameters, Resources
from mpod_pipeline.batch.progress import StepProgress


class Executor(Protocol):
    """Takes tasks one by one and hands outcomes back as they come, in whatever order.

    A product's failure is an outcome. What concerns the whole run is raised. It is a context: at its end nothing is at
    work any more.
    """

    def submit(self, task: Task) -> Iterator[Outcome]:
        """Take the task, and yield what has finished meanwhile; waits while too much is under way."""
        ...

    def drain(self) -> Iterator[Outcome]:
        """Yield the outcomes that are still to come."""
        ...

    def __enter__(self) -> Executor: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None: ...


class InProcess:
    """Tasks are done one at a time in this process, as for a debugger. The work (its models) is opened when the first
    task comes.
    """

    def __init__(self, open_work: Callable[[], Work], progress: StepProgress) -> None:
        self._open_work = open_work
        self._progress = progress
        self._work: Work | None = None

    def submit(self, task: Task) -> Iterator[Outcome]:
        if self._work is None:
            self._work = self._open_work()
        yield attempt(self._work, task, self._progress.report_for(task.product))

    def drain(self) -> Iterator[Outcome]:
        yield from ()

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self._work = None


def make_executor(
    chosen: ExecutorParameters,
    resources: Resources,
    open_work: Callable[[], Work],
    progress: StepProgress,
    products: int,
) -> Executor:
    """The executor that the parameters choose, for so many products. Raises SetupError if it cannot be had."""
    if chosen.kind == "in_process":
        return InProcess(open_work, progress)
    if chosen.kind == "processes":
        from mpod_pipeline.batch.processes import Processes, worker_count

        return Processes(chosen.workers or worker_count(products), open_work, progress)
    from mpod_pipeline.batch.ray_workers import RayWorkers

    return RayWorkers(chosen, resources, open_work, progress)
