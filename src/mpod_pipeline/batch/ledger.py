"""What is known about a stage's products, and what follows from it: skip, leave out, or make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from mpod_pipeline.base.atomic import whole_file
from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.own_parameters import known_to, with_own
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch.fingerprints import FileIdentity, fingerprint, identify, identify_files, seed_of
from mpod_pipeline.batch.isolation import Failure, Outcome, Task
from mpod_pipeline.batch.parameters import BatchParameters
from mpod_pipeline.batch.records import Record, now, read_record


@dataclass(frozen=True)
class Stage:
    """One step of the road.

    artifacts: what it makes, by name in the catalog. code_version: to be raised when a change of the code
    changes what the stage makes, so that it is made again. made_by: for each input that a stage made, that
    stage. optional: inputs that a product may lack.
    """

    name: str
    artifacts: tuple[str, ...]
    code_version: int
    made_by: Mapping[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    @property
    def outputs(self) -> tuple[str, ...]:
        """All outputs of the stage's node: the artifacts, and what is written down about them."""
        return (*self.artifacts, "records")


class History(Protocol):
    """What is on disk: a folder of records, each stage's records by product, the artifacts by name, and a folder
    of checkpoints.

    Records and artifacts are mappings from a product to what reads it; artifacts know the ``path`` of a
    product.
    """

    @property
    def folder(self) -> Path: ...

    @property
    def artifacts(self) -> Mapping[str, Any]: ...

    @property
    def checkpoints(self) -> Path: ...

    @property
    def run_id(self) -> str: ...

    def records(self, stage: str) -> Any: ...

    def knows(self, product: str) -> bool: ...


@dataclass(frozen=True)
class Settled:
    """Nothing is to be made. record: to be written, where what was known no longer holds."""

    left_out: bool
    record: Record | None = None


@dataclass(frozen=True)
class Todo:
    """A task, and its record as far as it can be filled in beforehand."""

    task: Task
    draft: Record


class Ledger:
    """One stage's view of the workspace during one run. Arguments as in `stage.run_stage`."""

    def __init__(
        self,
        stage: Stage,
        inputs: Mapping[str, Any],
        parameters: Parameters,
        batch: BatchParameters,
        history: History,
        weights: Sequence[Path],
        written_as: Callable[[str], str],
        product_settings: Mapping[str, Mapping[str, str]],
    ) -> None:
        self._stage = stage
        self._inputs = inputs
        self._parameters = parameters
        self._batch = batch
        self._history = history
        self._weights = weights
        self._written_as = written_as
        self._product_settings = product_settings
        self._records = history.records(stage.name)
        self._first = next(iter(inputs))

    def products(self) -> list[str]:
        """The products this run is about. Raises SetupError if one is asked for that nobody knows."""
        available = list(self._inputs[self._first])
        if self._batch.products is None:
            return available
        chosen = set(self._batch.products)
        # what failed or was left out at an earlier stage is not there, and yet no mistake of the user's
        if unknown := [p for p in sorted(chosen.difference(available)) if not self._history.knows(p)]:
            raise SetupError(f"The catalog has no product {', '.join(map(repr, unknown))}; see --params=products=[…].")
        return [product for product in available if product in chosen]

    def decide(self, product: str) -> Settled | Todo:
        """Whether the product is up to date, has to be left out, or has to be made.

        Raises SetupError where it was made with settings of its own, and this run's table does not know it.
        """
        previous = read_record(self._records, product)
        if reason := self._why_left_out(product):
            return Settled(left_out=True, record=self._left_out(previous, reason))
        self._require_its_table(product, previous)
        identities = self._identities(product, previous)
        current = self._fingerprint(product, identities)
        same = previous is not None and previous.fingerprint == current
        if previous and same and not self._batch.force and self._whole(product, previous):
            back = previous.model_copy(update={"state": "made", "message": ""}) if previous.state != "made" else None
            return Settled(left_out=False, record=back)
        draft = Record(
            product=self._written_as(product),
            stage=self._stage.name,
            state="failed",
            fingerprint=current,
            inputs=identities,
            own_parameters=self._own(product),
            attempt=previous.attempt + 1 if previous and same else 1,
            run_id=self._history.run_id,
        )
        task = Task(
            product,
            inputs={
                **{name: files.get(product) for name, files in self._inputs.items()},
                "parameters": partial(with_own, self._parameters, self._own(product)),
                "product": partial(str, self._written_as(product)),
                "fingerprint": partial(str, current),
            },
            seed=seed_of(self._batch.seed, self._stage.name, product),
            checkpoint=self._checkpoint(product, current),
            fingerprint=current,
        )
        return Todo(task, draft)

    def would_make(self, product: str) -> bool:
        """Whether a run would make the product, or ask for more than it was given before."""
        try:
            return isinstance(self.decide(product), Todo)
        except SetupError:
            return True

    def made(self, todo: Todo, outcome: Outcome) -> Record:
        """The record of a success. Its artifacts must be on disk by now."""
        outputs = {name: _identify_output(self._output(name, todo.task.product)) for name in self._stage.artifacts}
        if missing := [name for name, identity in outputs.items() if identity is None]:
            raise SetupError(f"{', '.join(missing)} of {todo.task.product} did not reach the disk; see the catalog.")
        update = {"state": "made", "outputs": outputs, "seconds": round(outcome.seconds, 3), "finished": now()}
        return todo.draft.model_copy(update=update)

    def failed(self, todo: Todo, outcome: Outcome, failure: Failure) -> Record:
        """The record of a failure. The traceback lies beside it."""
        update = {
            "error": failure.kind,
            "message": failure.message,
            "traceback_file": f"{todo.task.product}.traceback.txt",
            "seconds": round(outcome.seconds, 3),
            "finished": now(),
        }
        return todo.draft.model_copy(update=update)

    def forget_checkpoint(self, product: str) -> None:
        """Remove what an attempt left to go on from: it has come to its end, or is not to be made any more."""
        with suppress(OSError):  # what lies in its place is in nobody's way
            self._checkpoint_file(product).unlink(missing_ok=True)

    def gone(self) -> Iterator[tuple[str, Record | None]]:
        """The products of earlier runs that are no longer there, as their photos were taken out of the catalog; and for
        each that went since the last run, its record to be changed.
        """
        first = self._inputs[self._first]
        for product in self._records:
            if product not in first:
                yield (product, self._left_out(read_record(self._records, product), f"its {self._first} is gone"))

    def what_is_in_the_way(self, product: str) -> str:
        """A sentence on what lies where an artifact of the product is to be written; empty if nothing does."""
        places = (self._output(name, product) for name in self._stage.artifacts)
        return next((f"{place} is no file; please move it away." for place in places if _is_no_file(place)), "")

    def _checkpoint(self, product: str, fingerprint: str) -> Checkpoint | None:
        every = self._batch.checkpoint_every_seconds
        return None if every is None else Checkpoint(self._checkpoint_file(product), fingerprint, every)

    def _checkpoint_file(self, product: str) -> Path:
        return self._history.checkpoints / self._stage.name / f"{product}.pt"

    def _why_left_out(self, product: str) -> str:
        for name, files in self._inputs.items():
            if maker := self._stage.made_by.get(name):
                record = read_record(self._history.records(maker), product)
                if record and record.state != "made":
                    return f"{maker}: {record.state}"
            if product not in files and name not in self._stage.optional:
                return f"there is no {name}"
        return ""

    @staticmethod
    def _left_out(previous: Record | None, reason: str) -> Record | None:
        if previous is None or previous.state == "left out":
            return None
        return previous.model_copy(update={"state": "left out", "error": "", "message": reason, "traceback_file": ""})

    def _identities(self, product: str, previous: Record | None) -> dict[str, FileIdentity | None]:
        known = previous.inputs if previous else {}
        identities = {}
        for name, files in self._inputs.items():
            for part, path in _places(name, files.get(product)):
                identities[part] = _identify_input(path, known.get(part)) if path else None
        return identities

    def _fingerprint(self, product: str, identities: Mapping[str, FileIdentity | None]) -> str:
        return fingerprint(
            {
                "code": self._stage.code_version,
                "inputs": {name: identity.sha256 if identity else None for name, identity in identities.items()},
                "parameters": {**self._settings, **self._own(product)},
                "weights": self._weights_fingerprint,
                "seed": seed_of(self._batch.seed, self._stage.name, product),
            }
        )

    def _require_its_table(self, product: str, previous: Record | None) -> None:
        own = previous.own_parameters if previous else {}
        if own and product not in self._product_settings and not self._batch.force:
            said = ", ".join(f"{name} {value}" for name, value in own.items())
            raise SetupError(
                f"{product} was made with settings of its own ({said}), and the folder of photos has no table that "
                "names it. Say where that is by --params=photos=FOLDER, or do without by --params=force=true."
            )

    def _own(self, product: str) -> dict[str, float | str]:
        return known_to(self._parameters, self._product_settings.get(product, {}))

    def _whole(self, product: str, record: Record) -> bool:
        """Whether the artifacts are those that the record vouches for."""
        if set(record.outputs) != set(self._stage.artifacts):
            return False
        for name, known in record.outputs.items():
            identity = _identify_output(self._output(name, product), known)
            if identity is None or identity.sha256 != known.sha256:
                return False
        return True

    def _output(self, artifact: str, product: str) -> Path:
        path: Path = self._history.artifacts[artifact].path(product)
        return path

    @cached_property
    def _settings(self) -> Any:
        """The parameters, as JSON has them."""
        return to_jsonable_python(_with_contents(self._parameters.model_dump(), self._contents))

    @cached_property
    def _weights_fingerprint(self) -> str:
        """One text for all weights in use."""
        return fingerprint({"weights": [self._contents(folder) for folder in self._weights]})

    def _contents(self, place: Path) -> dict[str, str]:
        """The digests of a file, or of a folder's files by name. Large files are read once; their identities are kept
        beside the records.
        """
        store = self._history.folder / ".weights.json"
        known, name = _read_weights(store), place.absolute().as_posix()
        files = identify_files(place, known.get(name, {}))
        if known.get(name) != files:
            with suppress(OSError), whole_file(store) as path:  # as with the marker of what is at work
                path.write_bytes(_WEIGHTS.dump_json({**known, name: files}))
        return {name: identity.sha256 for name, identity in files.items()}


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


def _with_contents(setting: Any, contents: Callable[[Path], dict[str, str]]) -> Any:
    """A setting in which every path has given way to what lies there: weights count by content, not by place."""
    if isinstance(setting, Path):
        return contents(setting) or setting.as_posix()
    if isinstance(setting, dict):
        return {name: _with_contents(value, contents) for name, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [_with_contents(value, contents) for value in setting]
    return setting


_WEIGHTS = TypeAdapter(dict[str, dict[str, FileIdentity]])


def _read_weights(store: Path) -> dict[str, dict[str, FileIdentity]]:
    try:
        return _WEIGHTS.validate_json(store.read_bytes())
    except (OSError, ValidationError):
        return {}  # only costs reading the weights again
