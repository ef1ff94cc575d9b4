"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpod_pipeline.base.errors import SetupError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Hand out a path to write to; on success it takes the place of ``path`` in one step, on failure it goes.

    Whatever happens meanwhile (a kill, a full disk, a power cut), ``path`` is the old file or the new one.
    The unfinished file is hidden, and has a fixed name, so that a run that died leaves at most one behind,
    which the next run overwrites.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.stem}.part{path.suffix}")
    try:
        yield unfinished
        _flush(unfinished)
        unfinished.replace(path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


@contextmanager
def told_what_cannot_be_written(path: Path) -> Iterator[None]:
    """Let an OSError end the run in a sentence: what keeps one result from the disk concerns all products."""
    try:
        yield
    except OSError as error:
        raise SetupError(f"{path} cannot be written: {error.strerror or error}.") from error


def _flush(path: Path) -> None:
    """Bring the content to the disk, or a power cut could leave the new name on an empty file."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
