"""Texts from outside, made fit to be shown."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from itertools import islice


def readable(text: str) -> str:
    """The text with an escape for each character that cannot be printed.

    These are characters that a terminal would obey, and the bytes of a file name that is not UTF-8, which Python keeps
    as surrogates.
    """
    return "".join(letter if letter.isprintable() else _escape(letter) for letter in text)


def some(names: Iterable[str], count: int, shown: int = 5) -> str:
    """The first of ``count`` names, and how many more there are."""
    first = ", ".join(map(readable, islice(names, shown)))
    return f"{first} and {count - shown} more" if count > shown else first


def number_of(count: int, thing: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def harmless(cell: str) -> str:
    """A text as a cell of a table: a spreadsheet takes one that begins so for a formula, but not behind a ``'``."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "'")) else cell


def without_mark(cell: str) -> str:
    """The text of a cell that `harmless` made."""
    return cell.removeprefix("'")


def show_every_letter() -> None:
    """Let this process's output have an escape for each letter that its encoding lacks: printing must not end a run."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _escape(letter: str) -> str:
    byte = ord(letter) - 0xDC00
    return f"\\x{byte:02x}" if 0x80 <= byte <= 0xFF else ascii(letter)[1:-1]
