"""Where a step's tasks are done."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from mpod_pipeline.batch.isolation import DEATHS, Outcome, Task, Work, attempt, worker_died
from mpod_pipeline.batch.parameters import ExecutorParameters, Resources
from mpod_pipeline.batch.progress import StepProgress

logger = logging.getLogger(__name__)


class Executor(AbstractContextManager["Executor"], ABC):
    """Takes tasks one by one and hands outcomes back as they come, in whatever order.

    A product's failure is an outcome. What concerns the whole run is raised. It is a context: at its end nothing is at
    work any more.
    """

    @abstractmethod
    def submit(self, task: Task) -> Iterator[Outcome]:
        """Take the task, and yield what has finished meanwhile; waits while too much is under way."""

    @abstractmethod
    def drain(self) -> Iterator[Outcome]:
        """Yield the outcomes that are still to come."""


class InProcess(Executor):
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

    def __exit__(self, *exception: object) -> None:
        self._work = None


class OfWorkers(Executor):
    """An executor whose workers are processes of their own; outcomes come in the order in which they finish.

    No more tasks are under way than there are workers, so at most one result per worker waits to be saved. A task whose
    worker died is done again by another; if that happens `DEATHS` times, the product has failed.
    """

    def __init__(self, limit: int, progress: StepProgress) -> None:
        self._limit = limit
        self._progress = progress
        self._waiting: deque[Task] = deque()
        self._running: dict[Any, Any] = {}
        self._deaths: Counter[str] = Counter()

    def drain(self) -> Iterator[Outcome]:
        while self._waiting or self._running:
            yield from self._wait()

    @abstractmethod
    def _wait(self) -> Iterator[Outcome]:
        """Wait for something to happen, at most a moment, and see to it."""

    def _after_a_death(self, task: Task, seconds: float, error: Exception) -> Iterator[Outcome]:
        self._deaths[task.product] += 1
        if self._deaths[task.product] < DEATHS:
            logger.warning("The worker that had %s died; another one does it again.", task.product)
            self._waiting.appendleft(task)
        else:
            yield Outcome(task.product, seconds, worker_died(str(error)))


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
