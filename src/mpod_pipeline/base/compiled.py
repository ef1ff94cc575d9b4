"""Numba's compiler, for all kernels: what it compiles is kept where that can be written.

Numba keeps it beside the code, or in the home folder. Where neither can be written, as for a service's user, it raises
while a kernel's module is imported, so that a place is found here before that.
"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import numba
from numba import njit

from mpod_pipeline.base.errors import SetupError

__all__ = ["njit"]


def _find_place() -> None:
    """Set Numba's folder, unless it finds one of its own."""
    try:
        njit(cache=True)(_probe)
    except RuntimeError:
        os.environ["NUMBA_CACHE_DIR"] = str(_own_folder())  # for this process's children, too
        numba.config.reload_config()


def _probe() -> None:
    """Never called, nor compiled."""


def _own_folder() -> Path:
    """A folder for temporary files, this user's alone: code that others could write would be run."""
    try:
        folder = Path(tempfile.gettempdir()) / f"mpod_pipeline-{os.getuid()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
        private = stat.S_ISDIR(status.st_mode) and not status.st_mode & 0o077
        if private and status.st_uid == os.getuid() and os.access(folder, os.W_OK):
            return folder
        return Path(tempfile.mkdtemp(prefix="mpod_pipeline-"))
    except OSError as error:
        raise SetupError(
            "Compiled code can be kept neither in the project's folder nor in the home folder nor in the one for "
            f"temporary files ({error.strerror}); set NUMBA_CACHE_DIR to a folder that can be written."
        ) from error


_find_place()
