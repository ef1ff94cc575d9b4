"""How a run is told to stop (Ctrl-C, SIGTERM, SIGHUP), and does: in good order, and without fail.

A signal becomes a KeyboardInterrupt wherever the main thread is. That may be a place that swallows it: Python ignores
what is raised in a weak reference's callback or in ``__del__``, a library may have a bare ``except``. So the signal is
also remembered, and raised again at once where Python says that it ignored it, and at the next safe point otherwise.
"""

from __future__ import annotations

import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mpod_pipeline.base.errors import StoppedError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: A second signal ends the process at once. Within so many seconds it is the first one again: `timeout` sends it to the
#: process and to its group.
SAME_S = 1.0
#: How soon after it was ignored an interrupt is raised again: between these, as a regular beat might meet the same
#: place each time.
AGAIN_S = (0.002, 0.05)


class _Told:
    """since: when the run was told to stop, on the monotonic clock. heard: whether it has begun to."""

    since: float | None = None
    heard: bool = False


_told = _Told()


@contextmanager
def stop_in_good_order() -> Iterator[None]:
    """Within it, a signal closes the run's books before the process ends. For the main thread."""
    _told.since, _told.heard = None, False
    handlers = {told: _interrupt for told in SIGNALS if signal.getsignal(told) is not signal.SIG_IGN}  # as nohup has it
    kept = {told: signal.signal(told, handler) for told, handler in handlers.items()}
    kept[signal.SIGALRM] = signal.signal(signal.SIGALRM, _interrupt_again)
    ignored, sys.unraisablehook = sys.unraisablehook, _after_an_ignored_error
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        sys.unraisablehook = ignored
        for told, handler in kept.items():
            signal.signal(told, handler)
        _told.since = None


def stop_if_told() -> None:
    """A safe point: raise KeyboardInterrupt if a signal came and its own was swallowed."""
    if _told.since is not None and not _told.heard:
        if threading.current_thread() is threading.main_thread():
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt


def stop_heard() -> None:
    """The interrupt has arrived where it is heeded: it is not to be raised any more."""
    _told.heard = True


@contextmanager
def stopped_run() -> Iterator[None]:
    """Where a run's books can be closed: what tells it to stop becomes a StoppedError."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit) as told:  # the latter is how Ray's driver takes SIGTERM
        stop_heard()
        raise StoppedError("The run was told to stop; the next one goes on.") from told


def _interrupt(number: int, frame: FrameType | None) -> None:
    now = time.monotonic()
    if _told.since is None:
        _told.since = now
        raise KeyboardInterrupt
    if now - _told.since > SAME_S:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)


def _interrupt_again(number: int, frame: FrameType | None) -> None:
    stop_if_told()


def _after_an_ignored_error(error: sys.UnraisableHookArgs) -> None:
    if issubclass(error.exc_type, KeyboardInterrupt) and _told.since is not None:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(*AGAIN_S))
    else:
        sys.__unraisablehook__(error)
