"""Files from outside, which may be anything."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO


def open_regular(path: Path) -> BinaryIO:
    """Open a file to read its bytes. Raises OSError also for a pipe, a device or a folder: reading from the first two
    may never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # or opening a pipe would wait for who writes to it
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "It is a folder, a pipe or a device, not a file", str(path))
    return os.fdopen(descriptor, "rb")


def read_bounded(path: Path, limit: int) -> bytes:
    """The file's bytes. Raises OSError as `open_regular`, and where there are more than ``limit``."""
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > limit:
            raise OSError(
                errno.EFBIG, f"It has {size / 1e6:,.0f} MB, and {limit / 1e6:,.0f} are read at most", str(path)
            )
        return file.read(limit)


def sha256_of(path: Path) -> str:
    """The hexadecimal digits of a file's hash. Raises OSError as `open_regular`."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
