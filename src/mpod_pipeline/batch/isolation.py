"""One product's attempt at one step. Its failure ends here."""

from __future__ import annotations

import errno
import resource
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from pydantic import ValidationError

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.report import Report
from mpod_pipeline.base.text import readable
from mpod_pipeline.batch.progress import Curves, LossCurves


class BrokenWorkerError(SetupError):
    """This process can do no more work: what failed has broken its GPU's context."""


class Work(Protocol):
    """What a step does for one product.

    It gets the inputs by name (None for an optional one that is absent), a seed, a report of progress, and a checkpoint
    if long work is to keep its state. It gives the artifacts by name. It is opened once per worker, so it may hold
    models.
    """

    def __call__(
        self, inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]: ...


@dataclass(frozen=True)
class Task:
    """One product's turn in a step. inputs: how to read each; None for an optional one that is absent. fingerprint:
    of all that its result depends on.
    """

    product: str
    inputs: Mapping[str, Callable[[], Any] | None]
    seed: int
    checkpoint: Checkpoint | None = None
    fingerprint: str = ""


@dataclass(frozen=True)
class Failure:
    """kind: the error's class. message: a sentence. traceback: for those who mend the code."""

    kind: str
    message: str
    traceback: str


@dataclass(frozen=True)
class Outcome:
    """What came of a task: the artifacts, or a failure. curves: its losses. peak_bytes: the most memory that the
    process has ever had.
    """

    product: str
    seconds: float
    result: dict[str, Any] | Failure
    curves: Curves = field(default_factory=dict)
    peak_bytes: int = 0


# A bug or a wrong setting would fail every product in turn. NotImplementedError is a RuntimeError and Pydantic's error
# a ValueError, so these are asked for first; everything else that an Exception can be may come from one product.
_BUGS = (ImportError, SyntaxError, TypeError, NameError, AttributeError, NotImplementedError, AssertionError)
_STOPS_THE_RUN = (SetupError, ValidationError, LookupError, *_BUGS)
#: A product during whose work so many processes died is taken to have killed them: each is tried once more.
DEATHS = 2
#: The kind of failure that this is.
WORKER_DIED = "WorkerDied"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


def stops_the_run(error: Exception) -> bool:
    """Whether an error that came up in one product's work concerns the whole run."""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return True
    return isinstance(error, _STOPS_THE_RUN)


def worker_died(trace: str = "") -> Failure:
    """The failure of a product that took its worker with it, again and again."""
    return Failure(WORKER_DIED, f"{DEATHS} workers died while at work on it, one after the other.", trace)


def attempt(work: Work, task: Task, report: Report) -> Outcome:
    """Do the task. A product's failure is an outcome.

    Raises what concerns the whole run: a bug, a wrong setting, a full disk. Raises BrokenWorkerError where the process
    can do no more work.
    """
    started = time.perf_counter()
    result: dict[str, Any] | Failure
    losses = LossCurves(report)
    try:
        inputs = {name: read() if read else None for name, read in task.inputs.items()}
        result = work(inputs, task.seed, losses, task.checkpoint)
    except Exception as error:
        if stops_the_run(error):
            raise
        _require_sound_gpu(error)
        result = Failure(type(error).__name__, _sentence(error), traceback.format_exc())
    return Outcome(task.product, time.perf_counter() - started, result, losses.curves, _peak_bytes())


def _require_sound_gpu(error: Exception) -> None:
    """An illegal access breaks CUDA's context for good: every later product of the process would fail, too."""
    torch = sys.modules.get("torch")  # which the batch layer itself does without
    if torch is None or not torch.cuda.is_initialized():
        return
    try:
        torch.cuda.synchronize()
    except Exception as broken:
        raise BrokenWorkerError(
            f"The GPU does not answer any more ({broken}). Start the run again: it goes on where it was."
        ) from error


def _peak_bytes() -> int:
    try:  # not `getrusage` where there is another: a process inherits that peak from the one that started it
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS: bytes


def _sentence(error: Exception) -> str:
    text = readable(" ".join(str(error).split()))
    if isinstance(error, ProductError) and text:
        return text
    return f"Something unforeseen happened ({type(error).__name__}: {text})."
