"""Settings by method: a run's sections as one method has them, and those of every method beside each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kedro.config import OmegaConfigLoader

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import merged
from mpod_pipeline.hooks.checks import did_you_mean
from mpod_pipeline.method.comparison.methods import OUTLINE_OF, SECTIONS


class MethodConfigLoader(OmegaConfigLoader):
    """Kedro's, with the preset of the setting ``method`` in the sections of the steps, and under what --params says.

    In ``methods`` each method has every section in full, as `compare_methods` runs it.
    """

    def __getitem__(self, key: str) -> dict[str, Any]:
        if key != "parameters" or key in self.data:
            return super().__getitem__(key)
        return with_methods(super().__getitem__(key), self.runtime_params or {})


def with_methods(parameters: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with presets in their sections: first the section's own, then the method's, then what is given.

    Raises SetupError for a method that does not exist, and for a preset that changes what its method has from another.
    """
    methods: Mapping[str, Any] = parameters.get("methods", {})
    chosen = parameters.get("method")
    if not methods or chosen is None:
        return dict(parameters)
    if chosen not in methods:
        raise SetupError(f"There is no method {chosen!r}{did_you_mean(str(chosen), methods)}")
    for name, preset in methods.items():
        if name in OUTLINE_OF and OUTLINE_OF[name] != name and (own := preset.keys() & {"outline", "masks"}):
            raise SetupError(
                f"methods.{name} sets {', '.join(sorted(own))}, but takes its outlines from {OUTLINE_OF[name]}."
            )
    common = parameters["compare"]["settings"]

    def resolved(name: str, *more: Mapping[str, Any]) -> dict[str, Any]:
        layers = (methods[name], *more, given)
        return {section: merged(parameters[section], *(each.get(section) for each in layers)) for section in SECTIONS}

    of_run = resolved(chosen)
    scored, own = parameters["score_priors"]["method"], _section(given, "score_priors", "method")
    scoring = {
        **parameters["score_priors"],
        "method": scored | {name: merged(of_run[name], own.get(name)) for name in scored.keys() & of_run},
    }
    each = {name: resolved(name, common) for name in methods}
    return {**parameters, **of_run, "score_priors": scoring, "methods": each}


def _section(values: Any, *path: str) -> Mapping[str, Any]:
    """What stands at a path of names; nothing where that is no mapping: the check of settings says what is wrong."""
    for name in path:
        values = values.get(name) if isinstance(values, Mapping) else None
    return values if isinstance(values, Mapping) else {}
