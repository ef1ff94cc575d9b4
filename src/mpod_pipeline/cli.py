"""The project's commands: `kedro run`, Kedro's own with lists in ``--params``, mistakes told in a sentence and exit
codes that tell, `kedro status`, and `kedro review`.
"""

from __future__ import annotations

import getpass
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.config import AbstractConfigLoader
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import ENV_HELP
from kedro.framework.project import pipelines, settings
from kedro.framework.startup import ProjectMetadata
from kedro.io import DatasetError
from kedro.pipeline import Pipeline
from kedro.utils import find_kedro_project
from kedro.validation.type_extractor import TypeExtractor
from omegaconf.errors import OmegaConfBaseException
from pydantic import ValidationError

from mpod_pipeline.base.errors import SetupError, StoppedError
from mpod_pipeline.base.stopping import stop_heard, stop_in_good_order
from mpod_pipeline.base.text import show_every_letter
from mpod_pipeline.batch import BatchParameters
from mpod_pipeline.batch.processes import kill_workers
from mpod_pipeline.commands.catalog_status import look_at_catalog
from mpod_pipeline.commands.params import ParamsError, read_params
from mpod_pipeline.commands.review import review_server
from mpod_pipeline.hooks.batch import TooManyFailuresError, start_worker_for
from mpod_pipeline.hooks.checks import (
    check_environment,
    check_names,
    check_photos,
    check_pipelines,
    check_runner,
    check_selection,
    check_values,
    remark_on_local_settings,
)
from mpod_pipeline.method.steps import STEPS
from mpod_pipeline.pipeline_registry import DEFAULT

logger = logging.getLogger(__name__)


class TooManyFailed(click.ClickException):
    """Exit code of a run that came to its end, but with too many products failed (1: it stopped before;
    2: the command line is wrong).
    """

    exit_code = 3


class Stopped(click.ClickException):
    """Exit code of a run that was told to stop, and did so in good order."""

    exit_code = 130


class ParamsOption(click.Option):
    """``--params``, any number of times. From a file given by --config they come as a mapping."""

    def __init__(self) -> None:
        super().__init__(
            ["--params"],
            multiple=True,
            callback=_read_params,
            help="Settings: key=value, nested by dots, separated by commas; lists in brackets, texts with commas in "
            "quotes. May be given several times.",
        )

    def type_cast_value(self, ctx: click.Context, value: Any) -> Any:
        return value if isinstance(value, dict) else super().type_cast_value(ctx, value)


def _read_params(context: click.Context, option: click.Parameter, value: Any) -> Any:
    if isinstance(value, dict):
        return value
    try:
        return read_params(value)
    except ParamsError as error:
        return context.fail(str(error))


def _read_config(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """Kedro's own callback of --config, with a sentence where the file is none of options."""
    (own,) = (option for option in kedro_run.params if option.name == "config")
    try:
        return own.callback(context, own, value) if own.callback else value
    except (
        yaml.YAMLError,
        OmegaConfBaseException,
        LookupError,
        AttributeError,
        TypeError,
        OSError,
        UnicodeDecodeError,
    ):
        return context.fail(f"--config={value} holds no options of `kedro run` as YAML, under the name `run`.")


def run_options() -> list[click.Parameter]:
    """Kedro's, with --params and --config of our own, and without a word on what is refused (see `check_options`)."""
    options = {option.name: copy(option) for option in kedro_run.params if option.name != "params"}
    options["config"].callback = _read_config
    vars(options["runner"])["help"] = "SequentialRunner (the default) or ThreadRunner."
    for refused in ("is_async", "only_missing_outputs", "load_versions"):
        vars(options[refused])["hidden"] = True
    return [*options.values(), ParamsOption()]


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Let errors that are sentences for the user end the command without a traceback."""
    try:
        yield
    except TooManyFailuresError as error:
        raise TooManyFailed(str(error)) from error
    except StoppedError as error:
        raise Stopped(str(error)) from error
    except click.ClickException:
        raise
    except KeyboardInterrupt as error:  # where no step was at work, whose books would have to be closed
        stop_heard()
        with suppress(Exception):  # as in `tracking`: a store that fails costs the record
            if mlflow := sys.modules.get("mlflow"):  # without it, no run is open
                mlflow.end_run("KILLED")
        raise Stopped("Told to stop.") from error
    except Exception as error:
        if (sentence := _sentence(error)) is None:
            raise
        logger.debug("The error behind the sentence that follows:", exc_info=True)
        raise click.ClickException(sentence) from error


def _sentence(error: BaseException) -> str | None:
    """What the user has to know of an error, found in what it was caused by; None where it is a bug."""
    causes = []
    cause: BaseException | None = error
    while cause:
        causes.append(cause)
        hidden = isinstance(cause, OmegaConfBaseException)  # which takes its cause out
        cause = cause.__cause__ or (cause.__context__ if hidden else None)
    for cause in causes:
        if isinstance(cause, SetupError):
            return str(cause)
    for cause in causes:
        if isinstance(cause, OSError) and cause.filename:  # a full disk, a folder in a file's place, no permission
            return f"{cause.filename}: {cause.strerror}."
        if isinstance(cause, DatasetError) and "parsing config" in str(cause):
            return f"The catalog cannot be read: {' '.join(str(cause).splitlines()[:2]).rstrip(':')}."
        if isinstance(cause, yaml.YAMLError):
            return f"The settings cannot be read: {' '.join(str(cause).split())}"
        if isinstance(cause, OmegaConfBaseException):
            where = f", in {cause.full_key}" if cause.full_key else ""
            return f"The settings cannot be read: {str(cause).splitlines()[0]}{where}."
    return None


def run_and_tell(**options: Any) -> Any:
    # Relative paths in settings mean the project's folder, as Kedro has it for those of the catalog.
    project = find_kedro_project(Path.cwd()) or Path.cwd()
    os.chdir(project)
    with stop_in_good_order(), told_in_a_sentence():
        if options["pipeline"]:
            if options["pipelines"]:
                raise click.UsageError("--pipeline and --pipelines are the same: give one of them.")
            options |= {"pipeline": None, "pipelines": [options["pipeline"]]}  # Kedro warns of the first
        try:
            check_options(project, options)
            return click.get_current_context().invoke(kedro_run, **options)
        finally:
            kill_workers()  # after a run there are none


def check_options(project: Path, options: dict[str, Any]) -> None:
    """Raise SetupError where the run that is asked for could not be made, before anything is opened or begun."""
    if options["only_missing_outputs"]:
        raise SetupError(
            "--only-missing-outputs takes a folder with one product in it for complete and would pass over all others: "
            "leave it out. Every run makes only what is missing or changed."
        )
    if options["load_versions"]:
        raise SetupError("Nothing here is kept in versions: leave --load-versions out.")
    check_runner(options["runner"], options["is_async"] or options["runner_params"].get("is_async", False))
    loader = config_loader(project, options["env"], options["params"], options["conf_source"])
    if remark := remark_on_local_settings(Path(loader.conf_source), loader.env):
        logger.warning("%s", remark)
    asked = options["pipelines"]
    check_pipelines(asked)
    if begins_at_the_photos(options):
        photos = check_photos(loader)
        with suppress(ValidationError):  # told below
            start_worker_for(STEPS, photos or (), BatchParameters.model_validate(loader["parameters"]["batch"]))
    pipelines.set_requested(asked or None)  # as Kedro will
    check_selection(options, sum((pipelines[name] for name in asked or ["__default__"]), Pipeline([])))
    check_values(loader["parameters"], TypeExtractor(dict(pipelines)).extract_types_from_pipelines())


def begins_at_the_photos(options: dict[str, Any]) -> bool:
    """Whether a run surely needs photos: the whole pipeline or its first step, and nothing chosen from it."""
    chosen = ("node_names", "from_nodes", "to_nodes", "from_inputs", "to_outputs", "tags", "namespaces")
    whole = {"__default__", DEFAULT, STEPS[0].name}
    asked = set(options["pipelines"] or whole)
    return bool(whole & asked) and not any(options[name] for name in chosen)


def config_loader(
    project: Path, env: str | None, params: dict[str, Any], source: str | None = None
) -> AbstractConfigLoader:
    """The project's settings, in which every name is known. Raises SetupError where one is not."""
    conf_source = source or str(project / settings.CONF_SOURCE)
    env = env or os.environ.get("KEDRO_ENV")
    check_environment(Path(conf_source), env)
    loader: AbstractConfigLoader = settings.CONFIG_LOADER_CLASS(
        conf_source=conf_source, env=env, runtime_params=params, **settings.CONFIG_LOADER_ARGS
    )
    check_names(loader)
    return loader


@told_in_a_sentence()
def show_status(metadata: ProjectMetadata, env: str | None, params: dict[str, Any], failed: bool, format: str) -> None:
    show_every_letter()
    os.chdir(metadata.project_path)  # as for a run
    # The configuration alone: Kedro's context would open MLflow.
    status = look_at_catalog(config_loader(metadata.project_path, env, params))
    if format == "json":
        click.echo(json.dumps(status.to_json(failed), indent=1, ensure_ascii=False))
    else:
        click.echo("\n".join(status.lines(failed)))


@told_in_a_sentence()
def serve_review(metadata: ProjectMetadata, env: str | None, params: dict[str, Any], who: str, port: int) -> None:
    show_every_letter()
    os.chdir(metadata.project_path)  # as for a run
    with review_server(config_loader(metadata.project_path, env, params), who, port) as server:
        click.echo(f"The models are shown at {server.address} (stop by Ctrl-C).")
        click.echo(f"Decisions are written to {server.decisions}; kedro run --pipeline=publish follows them.")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def command(name: str, callback: Callable[..., None], help: str, *options: click.Option) -> click.Command:
    """A command of the project's own, with its settings as `kedro run` takes them."""
    settings = [click.Option(["--env", "-e"], default=None, help=ENV_HELP), ParamsOption()]
    return click.Command(name, callback=click.pass_obj(callback), params=[*settings, *options], help=help)


run = click.Command(name="run", callback=run_and_tell, params=run_options(), help=kedro_run.help)
status = command(
    "status",
    show_status,
    "Show the catalog: each product's state, seconds and error at each step, and what is out of date.",
    click.Option(["--failed"], is_flag=True, help="Only products that failed."),
    click.Option(["--format"], type=click.Choice(["text", "json"]), default="text", help="For people or programs."),
)
review = command(
    "review",
    serve_review,
    "Show the models on a page of this machine, and write down what is approved and rejected there.",
    click.Option(["--who"], default=getpass.getuser, help="Who decides; by default, the name of your account."),
    click.Option(["--port"], type=click.IntRange(0, 65535), default=8808, show_default=True, help="0: any."),
)

cli = click.Group(name="mpod_pipeline", commands={"run": run, "status": status, "review": review})
