"""The ways in which work ends early."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class ProductError(Exception):
    """One product cannot be made: its photo is unusable, or an optimisation went astray.

    The message is one sentence for the person who keeps the catalog. A batch records it and goes on.
    """


class SetupError(Exception):
    """The run cannot work for any product: a missing checkpoint, an absent package, a parameter that makes no sense.

    The message says what is wrong and what to do. A batch stops at once.
    """


class StoppedError(Exception):
    """The run was told to stop, by Ctrl-C or SIGTERM. An Exception, as Kedro lets hooks close a run at these alone."""


@contextmanager
def noted(lacks: list[str]) -> Iterator[None]:
    """Put the SetupError of what is done within among the lacks, so that all of them are told at once."""
    try:
        yield
    except SetupError as error:
        lacks.append(str(error))
