"""Tasks on the processors of one machine or many, by Ray."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.batch.executor import OfWorkers
from mpod_pipeline.batch.isolation import BrokenWorkerError, Outcome, Task, Work, attempt
from mpod_pipeline.batch.parameters import ExecutorParameters, Resources
from mpod_pipeline.batch.progress import StepProgress

try:
    import ray
    from ray.exceptions import (
        NodeDiedError,
        ObjectLostError,
        OutOfMemoryError,
        RayActorError,
        RayTaskError,
        WorkerCrashedError,
    )
except ImportError as error:
    raise SetupError(
        "batch.executor.kind is 'ray', and Ray is not installed: pip install -e '.[ray]' in the project's folder"
    ) from error

logger = logging.getLogger(__name__)

#: How a worker's end comes to the driver; one that Ray ended for its machine's memory is an OutOfMemoryError.
DIED = (RayActorError, ObjectLostError, OutOfMemoryError, NodeDiedError, WorkerCrashedError)
#: After so many workers in a row that did not even start, none is expected to.
FAILED_STARTS = 3
#: How often the workers are asked which step they are at.
ASK_EVERY_S = 1.0
#: How often a run that waits for a free place in the cluster says so.
COMPLAIN_EVERY_S = 60.0

Step = tuple[int, int, dict[str, float]]


class _Worker:
    """A process with its own copy of the work, opened (its models loaded) when the first task comes."""

    def __init__(self, open_work: Callable[[], Work], folder: Path) -> None:
        with suppress(OSError):  # a machine without the project's folder does without what lies in it
            os.chdir(folder)  # paths in settings may be relative to it
        self._open_work = open_work
        self._work: Work | None = None
        self._step: Step | None = None

    def ready(self) -> None:
        """Answered as soon as the process is up."""

    def do(self, task: Task, files: list[Path]) -> Outcome:
        """files: what the driver sees on its disk, so that this machine must, too."""
        if hidden := [path for path in files if not _is_there(path)]:
            raise SetupError(
                f"The machine {socket.gethostname()} does not see {hidden[0]}. Photos and workspace must lie under "
                "the same path on all machines of the cluster."
            )
        if self._work is None:
            self._work = self._open_work()
        self._step = None
        return attempt(self._work, task, self._note)

    @ray.method(concurrency_group="asking")
    def step(self) -> Step | None:
        """The last step that the current task has told of."""
        return self._step

    def _note(self, step: int, total: int, losses: dict[str, float]) -> None:
        self._step = (step, total, losses)


class RayWorkers(OfWorkers):
    """An executor whose workers are Ray actors, which die with their machines, too.

    Raises SetupError if there is no cluster at the address, or no machine of it can hold a worker.
    """

    def __init__(
        self, chosen: ExecutorParameters, resources: Resources, open_work: Callable[[], Work], progress: StepProgress
    ) -> None:
        _connect(chosen.address)
        super().__init__(chosen.workers or _places(resources), progress)
        if not _places(resources):
            raise SetupError(
                f"No machine of the Ray cluster has {resources.num_cpus:g} CPUs and {resources.num_gpus:g} GPUs, "
                "which batch.resources asks for."
            )
        # a thread of its own answers at which step the other one is
        share = {"num_cpus": resources.num_cpus, "num_gpus": resources.num_gpus}
        remote: Any = ray.remote
        self._actor = remote(concurrency_groups={"asking": 1}, **share)(_Worker)
        self._open_work = ray.put(open_work)
        self._starting: dict[Any, Any] = {}  # the answer to `ready`, the actor
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[Any, Task, float]] = {}  # the outcome to be, the actor, its task, since when
        self._failed_starts = 0
        self._complained = time.monotonic()

    def submit(self, task: Task) -> Iterator[Outcome]:
        self._waiting.append(task)
        if len(self._starting) + len(self._idle) + len(self._running) < self._limit and not self._idle:
            self._start_worker()
        self._assign()
        while len(self._waiting) + len(self._running) > self._limit:
            yield from self._wait()

    def __exit__(self, *exception: object) -> None:
        """Let the workers go at once, and their share of the cluster with them."""
        actors = [*self._starting.values(), *self._idle, *(actor for actor, *_ in self._running.values())]
        for actor in actors:
            ray.kill(actor)

    def _start_worker(self) -> None:
        actor = self._actor.remote(self._open_work, Path.cwd())
        self._starting[actor.ready.remote()] = actor

    def _assign(self) -> None:
        while self._waiting and self._idle:
            task, actor = self._waiting.popleft(), self._idle.pop()
            self._running[actor.do.remote(task, _files(task))] = (actor, task, time.perf_counter())

    def _wait(self) -> Iterator[Outcome]:
        self._assign()
        happened, _ = ray.wait([*self._starting, *self._running], num_returns=1, timeout=ASK_EVERY_S)
        for reference in happened:
            if reference in self._starting:
                self._welcome(reference)
            else:
                yield from self._take(reference)
        if not happened:
            self._ask_for_steps()
            self._complain_if_stuck()

    def _welcome(self, reference: Any) -> None:
        actor = self._starting.pop(reference)
        try:
            ray.get(reference)
        except DIED as error:
            self._failed_starts += 1
            logger.warning("A Ray worker did not start: %s", error)
            if self._failed_starts == FAILED_STARTS:
                raise SetupError(f"No Ray worker starts; the last one's error: {error}") from error
            self._start_worker()
        else:
            self._failed_starts = 0
            self._idle.append(actor)
            self._assign()

    def _take(self, reference: Any) -> Iterator[Outcome]:
        actor, task, since = self._running.pop(reference)
        try:
            outcome = ray.get(reference)
        except (*DIED, RayTaskError) as error:
            if isinstance(error, RayTaskError) and not isinstance(error.cause, BrokenWorkerError):
                raise (error.cause if isinstance(error.cause, Exception) else error) from error
            ray.kill(actor)
            self._start_worker()
            yield from self._after_a_death(task, time.perf_counter() - since, error)
        else:
            self._idle.append(actor)
            self._assign()
            yield outcome

    def _ask_for_steps(self) -> None:
        asked = {actor.step.remote(): task for actor, task, _ in self._running.values()}
        answers = ray.wait([*asked], num_returns=len(asked), timeout=ASK_EVERY_S)[0] if asked else []
        for reference in answers:
            try:
                step = ray.get(reference)
            except DIED:
                continue  # the task's own outcome tells
            if step:
                self._progress.report_for(asked[reference].product)(*step)

    def _complain_if_stuck(self) -> None:
        now = time.monotonic()
        if self._running or now - self._complained < COMPLAIN_EVERY_S:
            return
        self._complained = now
        logger.warning("No machine of the Ray cluster has room for a worker; waiting for one.")


def _connect(address: str) -> None:
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    told = logger.isEnabledFor(logging.INFO)
    options: dict[str, Any] = {"log_to_driver": told, "logging_level": "INFO" if told else "WARNING"}
    if address == "local":
        options["include_dashboard"] = False
    try:
        ray.init(address=address, **options)
    except (ConnectionError, ValueError) as error:
        raise SetupError(f"There is no Ray cluster at batch.executor.address={address}: {error}") from error


def _places(resources: Resources) -> int:
    """How many workers the cluster's machines can hold in all."""
    places = 0
    for node in ray.nodes():
        if node["Alive"]:
            asked = {"CPU": resources.num_cpus, "GPU": resources.num_gpus}
            has = node["Resources"]
            places += min(int(has.get(kind, 0) // share) for kind, share in asked.items() if share)
    return places


def _is_there(path: Path) -> bool:
    """Whether something lies there, and this process may look at it."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def _files(task: Task) -> list[Path]:
    paths = [getattr(read, "path", None) for read in task.inputs.values()]
    return [path for path in paths if path is not None and _is_there(path)]
