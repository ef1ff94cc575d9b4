"""A signal ends a run, wherever it meets it."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress

import pytest

from mpod_pipeline.base.errors import StoppedError
from mpod_pipeline.base.stopping import SAME_S, stop_if_told, stop_in_good_order, stopped_run


class Thing:
    """Something to refer to weakly."""


def in_a_callback(told: signal.Signals) -> None:
    thing = Thing()
    reference = weakref.ref(thing, lambda _: signal.raise_signal(told))
    del thing
    assert reference() is None


def in_del(told: signal.Signals) -> None:
    class Mortal:
        def __del__(self) -> None:
            signal.raise_signal(told)

    Mortal()


def in_a_callback_from_c(told: signal.Signals) -> None:
    ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(told))()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("place", [in_a_callback, in_del, in_a_callback_from_c])
def test_a_signal_that_python_ignores_is_raised_again(
    place: Callable[[signal.Signals], None], told: signal.Signals
) -> None:
    with stop_in_good_order(), pytest.raises(KeyboardInterrupt):
        place(told)  # on its own, nothing comes of it
        end = time.monotonic() + 10
        while time.monotonic() < end:
            pass


def test_no_signal_is_lost_whenever_it_comes() -> None:
    draw = random.Random(0)
    for _ in range(12):
        told = draw.choice([signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
        timer = threading.Timer(draw.uniform(0.01, 0.03), os.kill, (os.getpid(), told))
        with stop_in_good_order(), pytest.raises(KeyboardInterrupt):
            timer.start()
            end = time.monotonic() + 20
            while time.monotonic() < end:
                Thing.__del__ = lambda self: sum(range(draw.randrange(2000)))  # type: ignore[attr-defined]
                references = [weakref.ref(Thing(), lambda _: sum(range(1000))) for _ in range(5)]
                for reference in references:
                    assert reference() is None
        timer.join()
    del Thing.__del__  # type: ignore[attr-defined]


def test_a_signal_that_a_library_swallows_is_raised_at_the_next_safe_point() -> None:
    with stop_in_good_order():
        stop_if_told()
        with suppress(BaseException):
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            stop_if_told()


def test_a_signal_that_is_heeded_is_not_raised_again_while_the_books_are_closed() -> None:
    with stop_in_good_order():
        with pytest.raises(StoppedError), stopped_run():
            signal.raise_signal(signal.SIGTERM)
        stop_if_told()
        signal.raise_signal(signal.SIGTERM)  # `timeout` sends it to the process and to its group


def test_a_second_signal_ends_the_process_at_once() -> None:
    code = """
        import os, signal, time
        from mpod_pipeline.base.stopping import stop_in_good_order
        with stop_in_good_order():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(60)
            except KeyboardInterrupt:
                print("closing", flush=True)
                time.sleep(60)
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "closing\n"
    time.sleep(SAME_S + 0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=10) == -signal.SIGTERM


def test_other_ignored_errors_are_told_as_ever(capfd: pytest.CaptureFixture[str]) -> None:
    code = """
        import weakref
        from mpod_pipeline.base.stopping import stop_in_good_order
        class Thing: pass
        with stop_in_good_order():
            thing = Thing()
            reference = weakref.ref(thing, lambda _: 1 / 0)
            del thing
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "ZeroDivisionError" in done.stderr
