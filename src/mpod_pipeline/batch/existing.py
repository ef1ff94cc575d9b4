"""What exists on disk of a step's products: their inputs, their artifacts, and the weights in use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mpod_pipeline.base.atomic import whole_file
from mpod_pipeline.batch.declared import BatchStep, History
from mpod_pipeline.batch.fingerprints import FileIdentity, identify, identify_files
from mpod_pipeline.batch.records import Record


@dataclass(frozen=True)
class Existing:
    """The files of one step's products. inputs: as in `step.run_step`."""

    step: BatchStep
    inputs: Mapping[str, Any]
    history: History

    def identities(self, product: str, previous: Record | None) -> dict[str, FileIdentity | None]:
        """Each input's identity by name; None for one that is absent. A large file is not read again if the previous
        record knows it.
        """
        known = previous.inputs if previous else {}
        identities = {}
        for name, files in self.inputs.items():
            for part, path in _places(name, files.get(product)):
                identities[part] = _identify_input(path, known.get(part)) if path else None
        return identities

    def outputs(self, product: str) -> dict[str, FileIdentity | None]:
        """Each artifact's identity by name; None for one that is not on disk."""
        return {name: _identify_output(self._place(name, product)) for name in self.step.artifacts}

    def whole(self, product: str, record: Record) -> bool:
        """Whether the artifacts are those that the record vouches for."""
        if set(record.outputs) != set(self.step.artifacts):
            return False
        for name, known in record.outputs.items():
            identity = _identify_output(self._place(name, product), known)
            if identity is None or identity.sha256 != known.sha256:
                return False
        return True

    def in_the_way(self, product: str) -> str:
        """A sentence on what lies where an artifact of the product is to be written; empty if nothing does."""
        places = (self._place(name, product) for name in self.step.artifacts)
        return next((f"{place} is no file; please move it away." for place in places if _is_no_file(place)), "")

    def checkpoint_file(self, product: str) -> Path:
        """Where a product's unfinished work keeps its state; a worker's current folder may be another."""
        return self.history.checkpoints.absolute() / self.step.name / f"{product}.pt"

    def forget_checkpoint(self, product: str) -> None:
        """Remove what an attempt left to go on from: it has come to its end, or is not to be made any more."""
        with suppress(OSError):  # what lies in its place is in nobody's way
            self.checkpoint_file(product).unlink(missing_ok=True)

    def contents(self, place: Path) -> dict[str, str]:
        """The digests of a file, or of a folder's files by name. Large files are read once; their identities are kept
        beside the records.
        """
        store = self.history.folder / ".weights.json"
        known, name = _read_weights(store), place.absolute().as_posix()
        files = identify_files(place, known.get(name, {}))
        if known.get(name) != files:
            with suppress(OSError), whole_file(store) as path:  # as with the marker of what is at work
                path.write_bytes(_WEIGHTS.dump_json({**known, name: files}))
        return {name: identity.sha256 for name, identity in files.items()}

    def _place(self, artifact: str, product: str) -> Path:
        return self.history.artifacts[artifact].path(product)


def _places(name: str, entry: Any) -> Iterator[tuple[str, Path | None]]:
    """Where an input lies, by its name; of one that is several files (its ``paths``, by name), of each."""
    parts: Mapping[str, Path] = getattr(entry, "paths", {})
    if not parts:
        yield name, entry.path if entry and not hasattr(entry, "paths") else None
    for part, path in parts.items():
        yield f"{name}/{part}", path


def _identify_input(path: Path, known: FileIdentity | None) -> FileIdentity | None:
    """The input's identity. One that cannot be read has another than any file or none has, so that the product is
    attempted, which will find what is wrong.
    """
    try:
        return identify(path, known)
    except OSError:
        return FileIdentity(sha256="unreadable", size=-1, mtime_ns=-1)


def _identify_output(path: Path, known: FileIdentity | None = None) -> FileIdentity | None:
    """The artifact's identity; what cannot be read is no artifact."""
    try:
        return identify(path, known)
    except OSError:
        return None


def _is_no_file(path: Path) -> bool:
    return path.exists() and not path.is_file()


_WEIGHTS = TypeAdapter(dict[str, dict[str, FileIdentity]])


def _read_weights(store: Path) -> dict[str, dict[str, FileIdentity]]:
    try:
        return _WEIGHTS.validate_json(store.read_bytes())
    except (OSError, ValidationError):
        return {}  # only costs reading the weights again
