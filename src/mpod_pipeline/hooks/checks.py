"""What a run is asked for, looked at before anything is opened. Every function raises a SetupError that says in a
sentence what is wrong, what was found, and what to type.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_args

from kedro.config import AbstractConfigLoader
from kedro.framework.project import settings
from kedro.io import CatalogProtocol, DataCatalog
from kedro.pipeline import Pipeline
from kedro.runner import AbstractRunner, ParallelRunner
from kedro.utils import load_obj
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.stores import is_address
from mpod_pipeline.batch import BatchParameters, History
from mpod_pipeline.datasets import PhotoFolder, Photos, ProductPartitions
from mpod_pipeline.datasets.loading import load_from
from mpod_pipeline.pipeline_registry import pipeline_names

#: So many mistakes in settings are told at once.
TOLD = 5
ABSENT = object()
#: And so many names of what there is.
LISTED = 40


def did_you_mean(name: str, known: Iterable[str], within: str = "") -> str:
    """The end of a sentence on a name that does not exist: the nearest one, or all that there are. within: what goes
    before the nearest.
    """
    known = list(known)
    by_small = {each.lower(): each for each in known}
    if near := get_close_matches(name.lower(), by_small, n=1):
        return f"; did you mean {within + by_small[near[0]]!r}?"
    if not known:
        return "; there is none."
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"; there are {', '.join(sorted(known)[:LISTED])}{more}."


def check_environment(conf_source: Path, env: str | None) -> None:
    """Is there a folder of settings for the environment?"""
    name = env or settings.CONFIG_LOADER_ARGS["default_run_env"]
    if conf_source.is_dir() and not (conf_source / name).is_dir():
        known = [path.name for path in conf_source.iterdir() if path.is_dir()]
        raise SetupError(
            f"There is no environment {name!r}, which would be the folder {conf_source / name}"
            f"{did_you_mean(name, known)}"
        )


def check_runner(name: str | None, is_async: bool) -> None:
    """Does the runner exist, and can it run steps, which hand over each product as it is made?"""
    if is_async:
        raise SetupError(
            "Steps save each product as it is made, and --async cannot do that: leave it out. "
            "Products are made side by side already (batch.executor in docs/batches.md)."
        )
    try:
        runner = load_obj(name or "SequentialRunner", "kedro.runner")
        known = isinstance(runner, type) and issubclass(runner, AbstractRunner)
    except (ImportError, AttributeError, ValueError):
        known = False
    if not known:
        names = ["SequentialRunner", "ThreadRunner"]
        raise SetupError(f"There is no runner {name!r}{did_you_mean(str(name), names)}")
    if issubclass(runner, ParallelRunner):
        raise SetupError(
            f"A run's books are kept in one process, and --runner={name} would have several: leave it out. "
            "Products are made side by side already (batch.executor in docs/batches.md)."
        )


def check_pipelines(names: Iterable[str]) -> None:
    """Is there a pipeline by each of the names? Nothing is imported for the answer."""
    for name in names:
        _require("pipeline", name, pipeline_names())


def check_photos(loader: AbstractConfigLoader) -> Photos | None:
    """The photos, told to be none before any pipeline is imported, which takes PyTorch's ten seconds. Those in a store
    are listed once a run, when it begins: None.
    """
    if is_address(loader["parameters"]["photos"]):
        return None
    photos: Photos = load_from(DataCatalog.from_config({"photos": loader["catalog"]["photos"]}), "photos")
    return photos


def remark_on_local_settings(conf_source: Path, env: str | None) -> str | None:
    """A sentence where settings of the default environment lie unread, because another one is asked for."""
    local = settings.CONFIG_LOADER_ARGS["default_run_env"]
    unread = sorted(path.name for path in (conf_source / local).glob("*.yml"))
    if env in (None, local) or not unread:
        return None
    return f"With --env={env} the settings in conf/{local} are not read ({', '.join(unread)})."


def check_selection(chosen: Mapping[str, Any], pipeline: Pipeline) -> None:
    """Does the pipeline have the nodes, datasets, tags and namespaces that `kedro run` is to take?

    chosen: the command's options, by their names in Python.
    """
    nodes = {node.name for node in pipeline.nodes}
    for option in ("node_names", "from_nodes", "to_nodes"):
        for name in chosen[option]:
            _require("node", name, nodes)
    for option, known in (("from_inputs", pipeline.datasets()), ("to_outputs", pipeline.all_outputs())):
        for name in chosen[option]:
            _require("dataset", name, [each for each in known if not each.startswith("params:")])
    for name in chosen["tags"]:
        _require("tag", name, {tag for node in pipeline.nodes for tag in node.tags})
    for name in chosen["namespaces"]:
        _require("namespace", name, {node.namespace for node in pipeline.nodes if node.namespace})


def _require(kind: str, name: str, known: Collection[str]) -> None:
    if name not in known:
        raise SetupError(f"There is no {kind} {name!r}{did_you_mean(name, known)}")


def check_names(loader: AbstractConfigLoader) -> None:
    """Does the base know what the environment's globals.yml and parameters.yml set, and what --params sets?

    Within a section, `check_values` looks. ``loader``: with the run's own --params.
    """
    base = _loader_like(loader, settings.CONFIG_LOADER_ARGS["base_env"])
    own = _loader_like(loader, loader.env)
    parameters = [name for name in base["parameters"] if not name.startswith("_")]
    globals_ = list(base["globals"])
    place = f"conf/{loader.env or settings.CONFIG_LOADER_ARGS['default_run_env']}"
    for name in own["globals"]:
        if name not in globals_:
            hint = f"; it belongs in {place}/parameters.yml." if name in parameters else did_you_mean(name, globals_)
            raise SetupError(f"{place}/globals.yml names {name!r}, which does not exist there{hint}")
    for name, value in own["parameters"].items():
        if name in globals_ and value != own["globals"][name]:
            # Kedro fills globals into the base's parameters before it merges the environment's
            raise SetupError(
                f"{name!r} has no effect in {place}/parameters.yml: set it in {place}/globals.yml, or by --params."
            )
        if name not in parameters and not name.startswith("_"):
            raise SetupError(
                f"{place}/parameters.yml names {name!r}, which does not exist{did_you_mean(name, parameters)}"
            )
    for name in loader.runtime_params or {}:
        if name not in parameters:
            raise SetupError(f"--params names {name!r}, which does not exist{did_you_mean(name, parameters)}")


def _loader_like(loader: AbstractConfigLoader, env: str | None) -> AbstractConfigLoader:
    """One without --params."""
    return type(loader)(conf_source=loader.conf_source, env=env, **settings.CONFIG_LOADER_ARGS)


def check_values(parameters: Mapping[str, Any], models: Mapping[str, Any]) -> None:
    """Does each section of settings suit its model? models: Pydantic's, by section; other types are passed over.

    Sections within others, as those of the methods, are looked at when the rest is right: they repeat its mistakes.
    """
    for within in (False, True):
        wrong: dict[tuple[Any, str], str] = {}
        for section in sorted(section for section in models if ("." in section) == within):
            for found, sentence in _wrong_values(section, _at(parameters, section), models[section]):
                of_section = isinstance(found["input"], Mapping)
                what = sentence if of_section else repr(found["input"])
                # once, where sections take a setting from one place
                wrong.setdefault(((section, *found["loc"])[-1], what), sentence)
        if wrong:
            sentences = list(wrong.values())
            more = [f"... and {len(sentences) - TOLD} more settings are wrong."] if len(sentences) > TOLD else []
            raise SetupError("\n".join([*sentences[:TOLD], *more]))


def _wrong_values(section: str, value: Any, model: Any) -> Iterator[tuple[ErrorDetails, str]]:
    """What is wrong in a section, and a sentence on each."""
    if value is not ABSENT and isinstance(model, type) and issubclass(model, BaseModel):
        try:
            model.model_validate(value)
        except ValidationError as error:
            for found in error.errors():
                yield found, _sentence(section, model, found)


def _at(parameters: Mapping[str, Any], section: str) -> Any:
    """A section's settings by its name, which may lead through sections; ABSENT where there is none."""
    value: Any = parameters
    for name in section.split("."):
        value = value.get(name, ABSENT) if isinstance(value, Mapping) else ABSENT
    return value


def _sentence(section: str, model: type[BaseModel], found: ErrorDetails) -> str:
    """What Pydantic says of one setting."""
    *path, last = (section, *map(str, found["loc"]))
    name = ".".join([*path, last])
    if found["type"] == "extra_forbidden":
        hint = did_you_mean(last, _fields(model, path[1:]), within=".".join([*path, ""]))
        return f"There is no setting {name!r}{hint}"
    if found["type"] == "model_type":
        shown = _shown(found["input"])
        return f"The setting {name} is {shown}, but is a section of settings: set those, by {name}.NAME."
    reason = found["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if isinstance(found["input"], Mapping):  # it speaks of the section's settings by their names
        return f"{reason}."
    joint = ", but " if reason.startswith("should") else ": "
    return f"The setting {name} is {_shown(found['input'])}{joint}{reason}."


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _fields(model: type[BaseModel], path: Iterable[str]) -> list[str]:
    """The names that a section within a model has; none where the path leads through a list or a mapping of others."""
    for step in path:
        field = model.model_fields.get(step)
        inner = [each for each in _types(field.annotation) if issubclass(each, BaseModel)] if field else []
        if inner:
            model = inner[0]
    return list(model.model_fields)


def _types(annotation: Any) -> Iterator[type]:
    """The classes within an annotation such as ``Inner | None``, ``dict[str, Inner]``."""
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _types(inner)


def check_batch(pipeline: Pipeline, catalog: CatalogProtocol, steps: Collection[str]) -> None:
    """Are there photos, the products that are asked for, and the steps to which resources are given?"""
    batch: BatchParameters = catalog.load("params:batch")
    if unknown := set(batch.resources) - {*steps, *(node.name for node in pipeline.nodes)}:
        raise SetupError(f"batch.resources names {', '.join(sorted(unknown))}, which is no step.")
    inputs = {
        name: load_from(catalog, name)
        for name in sorted(pipeline.inputs())
        if isinstance(catalog.get(name), PhotoFolder | ProductPartitions)
    }
    history: History = catalog.load("history")
    if inputs and not any(len(products) for products in inputs.values()):
        raise SetupError(
            f"There is nothing to work on: the workspace has no {', no '.join(sorted(inputs))}. Is it the right one "
            "(--params=workspace=FOLDER)? What comes before makes them: kedro run."
        )
    for product in sorted(batch.products or ()):
        # what failed at an earlier step is no input of this one, and yet no mistake of the user's
        if not any(product in products for products in inputs.values()) and not history.knows(product):
            known = {each for products in inputs.values() for each in products}
            raise SetupError(f"The catalog has no product {product!r}{did_you_mean(product, known)}")
