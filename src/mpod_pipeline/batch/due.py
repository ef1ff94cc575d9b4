"""What is due of a step: which products are skipped, left out, or made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import Parameters, known_to, with_own
from mpod_pipeline.batch.declared import BatchStep, History
from mpod_pipeline.batch.existing import Existing
from mpod_pipeline.batch.fingerprints import FileIdentity, fingerprint, seed_of
from mpod_pipeline.batch.isolation import Task
from mpod_pipeline.batch.parameters import BatchParameters
from mpod_pipeline.batch.records import Record, read_record


@dataclass(frozen=True)
class Settled:
    """Nothing has to be made. record: what has to be written, if the last record no longer holds."""

    left_out: bool
    record: Record | None = None


@dataclass(frozen=True)
class Todo:
    """Work for a product. draft: its record, as far as it is known before the work."""

    task: Task
    draft: Record


@dataclass(frozen=True)
class Settings:
    """All that a step's results depend on beside its inputs and its code. Fields as in `step.run_step`."""

    parameters: Parameters
    weights: Sequence[Path] = ()
    written_as: Callable[[str], str] = str
    product_settings: Mapping[str, Mapping[str, str]] | None = None

    def own(self, product: str) -> dict[str, float | str]:
        """The product's own settings, of those that the step has."""
        return known_to(self.parameters, (self.product_settings or {}).get(product, {}))


@dataclass(frozen=True)
class Due:
    """What one step has to do in one run. inputs: as in `step.run_step`."""

    step: BatchStep
    inputs: Mapping[str, Any]
    settings: Settings
    batch: BatchParameters
    history: History
    existing: Existing

    def products(self) -> list[str]:
        """The products this run is about. Raises SetupError if one is asked for that nobody knows."""
        available = list(next(iter(self.inputs.values())))
        if self.batch.products is None:
            return available
        chosen = set(self.batch.products)
        # what failed or was left out at an earlier step is not there, and yet no mistake of the user's
        if unknown := [p for p in sorted(chosen.difference(available)) if not self.history.knows(p)]:
            raise SetupError(f"The catalog has no product {', '.join(map(repr, unknown))}; see --params=products=[…].")
        return [product for product in available if product in chosen]

    def decide(self, product: str) -> Settled | Todo:
        """Whether the product is up to date, has to be left out, or has to be made.

        Raises SetupError where it was made with settings of its own, and this run's table does not know it.
        """
        previous = read_record(self.history.records(self.step.name), product)
        if reason := self._why_left_out(product):
            return Settled(left_out=True, record=previous and previous.left_out(reason))
        self._require_its_table(product, previous)
        identities = self.existing.identities(product, previous)
        current = self._fingerprint(product, identities)
        same = previous is not None and previous.fingerprint == current
        if previous and same and not self.batch.force and self.existing.whole(product, previous):
            back = previous.model_copy(update={"state": "made", "message": ""}) if previous.state != "made" else None
            return Settled(left_out=False, record=back)
        draft = Record(
            product=self.settings.written_as(product),
            step=self.step.name,
            state="failed",
            fingerprint=current,
            inputs=identities,
            own_parameters=self.settings.own(product),
            attempt=previous.attempt + 1 if previous and same else 1,
            run_id=self.history.run_id,
        )
        return Todo(self._task(product, current), draft)

    def would_make(self, product: str) -> bool:
        """Whether a run would make the product, or ask for more than it was given before."""
        try:
            return isinstance(self.decide(product), Todo)
        except SetupError:
            return True

    def _task(self, product: str, current: str) -> Task:
        settings, every = self.settings, self.batch.checkpoint_every_seconds
        file = self.existing.checkpoint_file(product)
        return Task(
            product,
            inputs={
                **{name: files.get(product) for name, files in self.inputs.items()},
                "parameters": partial(with_own, settings.parameters, settings.own(product)),
                "product": partial(str, settings.written_as(product)),
                "fingerprint": partial(str, current),
            },
            seed=seed_of(self.batch.seed, self.step.name, product),
            checkpoint=None if every is None else Checkpoint(file, current, every),
            fingerprint=current,
        )

    def _why_left_out(self, product: str) -> str:
        for name, files in self.inputs.items():
            if maker := self.step.made_by.get(name):
                record = read_record(self.history.records(maker), product)
                if record and record.state != "made":
                    return f"{maker}: {record.state}"
            if product not in files and name not in self.step.optional:
                return f"there is no {name}"
        return ""

    def _fingerprint(self, product: str, identities: Mapping[str, FileIdentity | None]) -> str:
        return fingerprint(
            {
                "code": self.step.code_version,
                "inputs": {name: identity.sha256 if identity else None for name, identity in identities.items()},
                "parameters": {**self._parameters, **self.settings.own(product)},
                "weights": self._weights,
                "seed": seed_of(self.batch.seed, self.step.name, product),
            }
        )

    def _require_its_table(self, product: str, previous: Record | None) -> None:
        own = previous.own_parameters if previous else {}
        if own and product not in (self.settings.product_settings or {}) and not self.batch.force:
            said = ", ".join(f"{name} {value}" for name, value in own.items())
            raise SetupError(
                f"{product} was made with settings of its own ({said}), and the folder of photos has no table that "
                "names it. Say where that is by --params=photos=FOLDER, or do without by --params=force=true."
            )

    @cached_property
    def _parameters(self) -> Any:
        """As JSON has them."""
        return to_jsonable_python(_with_contents(self.settings.parameters.model_dump(), self.existing.contents))

    @cached_property
    def _weights(self) -> str:
        """One text for all weights in use."""
        return fingerprint({"weights": [self.existing.contents(folder) for folder in self.settings.weights]})


def _with_contents(setting: Any, contents: Callable[[Path], dict[str, str]]) -> Any:
    """A setting in which every path has given way to what lies there: weights count by content, not by place."""
    if isinstance(setting, Path):
        return contents(setting) or setting.as_posix()
    if isinstance(setting, dict):
        return {name: _with_contents(value, contents) for name, value in setting.items()}
    if isinstance(setting, list | tuple):
        return [_with_contents(value, contents) for value in setting]
    return setting
