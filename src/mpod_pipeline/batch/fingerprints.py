"""What a result depends on, in one short text: equal fingerprints, equal results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mpod_pipeline.base.files import sha256_of


class FileIdentity(BaseModel):
    """A file's content, with the size and time of change that tell without reading that it is still the same."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    size: int
    mtime_ns: int


def identify(path: Path, known: FileIdentity | None = None) -> FileIdentity | None:
    """The file's identity, None if there is no file. Reads it only if size or time differ from the
    ``known`` ones. Raises OSError for what is no file, such as a folder or a pipe.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    if known and (known.size, known.mtime_ns) == (status.st_size, status.st_mtime_ns):
        return known
    return FileIdentity(sha256=sha256_of(path), size=status.st_size, mtime_ns=status.st_mtime_ns)


def identify_files(place: Path, known: Mapping[str, FileIdentity]) -> dict[str, FileIdentity]:
    """The identities of a file (whatever its name), or of all files in a folder and below, by relative name; hidden
    ones and READMEs do not count.
    """
    identities = {}
    for path in [place] if place.is_file() else sorted(place.rglob("*")):
        name = path.relative_to(place)
        if path.is_file() and path.name != "README.md" and not any(part.startswith(".") for part in name.parts):
            identity = identify(path, known.get(name.as_posix()))
            if identity:
                identities[name.as_posix()] = identity
    return identities


def fingerprint(parts: Mapping[str, Any]) -> str:
    """A text of 64 letters made of ``parts`` (anything that JSON can hold), whatever their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def seed_of(seed: int, step: str, product: str) -> int:
    """The product's own seed in a step: the same in every run, and independent of the other products."""
    digest = hashlib.sha256(f"{seed}/{step}/{product}".encode()).digest()
    return int.from_bytes(digest[:4], "big") & 0x7FFF_FFFF
