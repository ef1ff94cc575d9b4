"""Tasks in processes of this machine, each with its own copy of the models: a process per core, of one thread each.

That suits a CPU better than one process with all cores: PyTorch's threads meet at a barrier hundreds of times per step.
A process also keeps a crash to itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection

import psutil

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.batch.executor import OfWorkers
from mpod_pipeline.batch.isolation import BrokenWorkerError, Outcome, Task, Work, attempt
from mpod_pipeline.batch.progress import StepProgress

logger = logging.getLogger(__name__)

#: How often the workers are asked which step they are at.
ASK_EVERY_S = 0.5
#: What a worker takes with the models that are shipped (`benchmarks/product.py` prints it): no more workers are started
#: than have room.
WORKER_BYTES = 2 << 30


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_count(products: int) -> int:
    """How many workers pay for so many products: one per core, as far as the free memory goes."""
    room = psutil.virtual_memory().available // WORKER_BYTES
    return max(1, min(cores(), products, room))


class Processes(OfWorkers):
    """An executor whose workers are processes of this machine. They outlive it, see `close_workers`."""

    def __init__(self, limit: int, open_work: Callable[[], Work], progress: StepProgress) -> None:
        super().__init__(limit, progress)
        self._threads = max(1, cores() // limit)
        self._open_work = pickle.dumps(open_work)
        self._idle: list[_Worker] = []
        self._running: dict[Future[bytes], tuple[_Worker, Task]] = {}

    def submit(self, task: Task) -> Iterator[Outcome]:
        self._waiting.append(task)
        while len(self._waiting) + len(self._running) > self._limit:
            yield from self._wait()
        self._assign()

    def __exit__(self, *exception: object) -> None:
        for worker, _ in self._running.values():
            worker.kill()
        _resting.extend(self._idle)

    def _assign(self) -> None:
        while self._waiting and len(self._running) < self._limit:
            worker = self._idle.pop() if self._idle else _take_worker(self._threads)
            try:
                future = worker.do(self._open_work, self._waiting[0])
            except BrokenProcessPool:  # it died while it rested
                worker.kill()
                continue
            self._running[future] = (worker, self._waiting.popleft())

    def _wait(self) -> Iterator[Outcome]:
        self._assign()
        finished, _ = wait(self._running, timeout=ASK_EVERY_S, return_when=FIRST_COMPLETED)
        for worker, task in self._running.values():
            if step := worker.newest_step():
                self._progress.report_for(task.product)(*step)
        for future in finished:
            worker, task = self._running.pop(future)
            try:
                outcome: Outcome = pickle.loads(future.result())
            except (BrokenProcessPool, EOFError) as error:
                worker.kill()
                yield from self._after_a_death(task, 0.0, error)
            except Exception:
                self._idle.append(worker)
                raise
            else:
                self._idle.append(worker)
                yield outcome


Step = tuple[int, int, dict[str, float]]


class _Worker:
    """A process of its own. It works with so many threads. It begins by importing the modules, while others go on; what
    cannot be imported, the work will say.
    """

    def __init__(self, threads: int, modules: Sequence[str] = ()) -> None:
        self.threads = threads
        self._steps, self._theirs = multiprocessing.Pipe(duplex=False)
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(1, context, _begin, (self._theirs,))
        with _without_main(), _thread_count(threads):
            self._started = self._pool.submit(os.getpid)
        self._pool.submit(_import, tuple(modules))

    def wait(self) -> None:
        """Until it runs. Raises SetupError where it does not."""
        try:
            self._pid = self._started.result()
        except BrokenProcessPool as error:
            raise SetupError(
                f"No worker process starts ({error}). Do without by --params=batch.executor.kind=in_process."
            ) from error
        self._theirs.close()

    def do(self, open_work: bytes, task: Task) -> Future[bytes]:
        return self._pool.submit(_do, open_work, task)

    def newest_step(self) -> Step | None:
        """The last step that the process has told of since this was asked last."""
        step = None
        try:
            while self._steps.poll():
                step = self._steps.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            pass  # it died, which its future tells
        return step

    def kill(self) -> None:
        """End the process at once, whatever it is at."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self.close()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._theirs.close()
        self._steps.close()


#: Workers without work, for the next step: to start one and to import PyTorch takes seconds.
_resting: list[_Worker] = []


def _take_worker(threads: int) -> _Worker:
    for worker in [worker for worker in _resting if worker.threads != threads]:
        _resting.remove(worker)
        worker.close()
    if _resting:
        early = _resting.pop()
        with suppress(SetupError):
            early.wait()
            return early
        early.close()  # it died before there was work for it
    worker = _Worker(threads)
    worker.wait()
    return worker


def start_worker(limit: int, modules: Sequence[str]) -> None:
    """Let the first of so many workers begin before there is work for it: its modules take seconds to import."""
    if not _resting:
        _resting.append(_Worker(max(1, cores() // limit), modules))


def kill_workers() -> None:
    """End the processes at once: there will be no work for them."""
    while _resting:
        worker = _resting.pop()
        try:
            worker.wait()
            worker.kill()
        except SetupError:  # it died by itself
            worker.close()


def close_workers() -> None:
    """Let the processes end. They have no work."""
    while _resting:
        _resting.pop().close()


@contextmanager
def _without_main() -> Iterator[None]:
    """A new process would run the user's script again, to know its names. Ours needs none of them."""
    main = vars(sys.modules["__main__"])
    hidden = {name: main.pop(name) for name in ("__file__", "__spec__") if name in main}
    main["__spec__"] = None
    try:
        yield
    finally:
        for name, value in hidden.items():
            main[name] = value


@contextmanager
def _thread_count(threads: int) -> Iterator[None]:
    """For a process started meanwhile: all its libraries work with so many threads, unless the user said how many."""
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


# In the process -------------------------------------------------------------------------------------------------------


@dataclass
class _Process:
    """What a worker's process knows. opened: the last work and what it was opened from."""

    steps: Connection
    opened: tuple[bytes, Work] | None = None


_process: _Process


def _begin(steps: Connection) -> None:
    global _process
    _process = _Process(steps)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to the run, which ends its workers
    threading.Thread(target=_end_with_the_run, daemon=True).start()


def _import(modules: Sequence[str]) -> None:
    for name in modules:
        import_module(name)


def _end_with_the_run() -> None:
    """A run that is killed cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _do(open_work: bytes, task: Task) -> bytes:
    """The task's outcome, pickled: otherwise PyTorch would leave tensors in shared memory, to be fetched later."""
    if _process.opened is None or _process.opened[0] != open_work:
        _process.opened = None  # the last step's models go before new ones come
        _process.opened = (open_work, pickle.loads(open_work)())
    try:
        return pickle.dumps(attempt(_process.opened[1], task, _report))
    except BrokenWorkerError:
        logger.exception("%s: this process cannot go on.", task.product)
        os._exit(1)


def _report(step: int, total: int, losses: dict[str, float]) -> None:
    _process.steps.send((step, total, losses))
