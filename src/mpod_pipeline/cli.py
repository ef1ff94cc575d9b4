"""The project's commands: `kedro run`, Kedro's own with lists in ``--params`` and exit codes that tell, and
`kedro status`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import ENV_HELP, split_node_names
from kedro.framework.project import settings
from kedro.framework.startup import ProjectMetadata
from kedro.io import DatasetError
from kedro.utils import find_kedro_project
from omegaconf import OmegaConf

from mpod_pipeline.batch.status import status_lines
from mpod_pipeline.datasets import PhotoFolder, ProductPartitions
from mpod_pipeline.errors import SetupError, StoppedError
from mpod_pipeline.hooks import TooManyFailuresError
from mpod_pipeline.pipelines import STAGES


class TooManyFailed(click.ClickException):
    """Exit code of a run that came to its end, but with too many products failed (1: it stopped before;
    2: the command line is wrong).
    """

    exit_code = 3


class Stopped(click.ClickException):
    """Exit code of a run that was told to stop, and did so in good order."""

    exit_code = 130


#: Settings whose values stay texts: YAML would take the product 0471 for the number 313.
TEXTS = ("products", "batch.products")


def split_params(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """``a=1,b.c=[x,y]`` as nested settings. Kedro's own callback splits at every comma, also within
    brackets.
    """
    if isinstance(value, dict):  # from a file given by --config
        return value
    items = split_node_names(context, option, value)
    given = OmegaConf.from_dotlist(items)
    for item in items:
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            context.fail(f"`{item}` in --params is not of the form key=value.")
        if key.strip() in TEXTS and text != "null":
            OmegaConf.update(given, key.strip(), yaml.load(text, yaml.BaseLoader))
    return OmegaConf.to_container(given)


def params_option() -> click.Option:
    return click.Option(
        ["--params"],
        default="",
        callback=split_params,
        help="Settings: key=value, nested by dots, separated by commas, lists in brackets.",
    )


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """Let errors that are sentences for the user end the command without a traceback."""
    try:
        yield
    except TooManyFailuresError as error:
        raise TooManyFailed(str(error)) from error
    except StoppedError as error:
        raise Stopped(str(error)) from error
    except KeyboardInterrupt as error:  # where no stage was at work, whose books would have to be closed
        import mlflow

        with suppress(Exception):  # as in `tracking`: a store in trouble costs the record
            mlflow.end_run("KILLED")
        raise Stopped("Told to stop.") from error
    except (SetupError, DatasetError) as error:  # Kedro wraps what a dataset raises
        reason = error if isinstance(error, SetupError) else error.__cause__
        if not isinstance(reason, SetupError):
            raise
        raise click.ClickException(str(reason)) from error


@told_in_a_sentence()
def run_and_tell(**options: Any) -> Any:
    # Relative paths in settings mean the project's folder, as Kedro has it for those of the catalog.
    os.chdir(find_kedro_project(Path.cwd()) or Path.cwd())
    for told in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C: close the batch, then go
        if signal.getsignal(told) is not signal.SIG_IGN:  # as nohup has it
            signal.signal(told, signal.default_int_handler)
    return click.get_current_context().invoke(kedro_run, **options)


@told_in_a_sentence()
def show_status(metadata: ProjectMetadata, env: str | None, params: dict[str, Any], failed: bool) -> None:
    # The configuration alone: Kedro's context would open MLflow and import every pipeline, with PyTorch.
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(metadata.project_path / settings.CONF_SOURCE),
        env=env,
        runtime_params=params,
        **settings.CONFIG_LOADER_ARGS,
    )
    folders = {
        name: metadata.project_path / loader["catalog"][name]["path"]
        for name in ("photos", "history", "cutout_checks")
    }
    photos = PhotoFolder(path=str(folders["photos"])).load()
    records = {
        stage: ProductPartitions(path=str(folders["history"] / stage), format="json").load()
        for stage in STAGES
    }
    cutout_checks = ProductPartitions(path=str(folders["cutout_checks"]), format="json").load()
    for line in status_lines(photos, records, cutout_checks, only_failed=failed):
        click.echo(line)


run = click.Command(
    name="run",
    callback=run_and_tell,
    params=[option for option in kedro_run.params if option.name != "params"] + [params_option()],
    help=kedro_run.help,
)

status = click.Command(
    name="status",
    callback=click.pass_obj(show_status),
    params=[
        click.Option(["--env", "-e"], default=None, help=ENV_HELP),
        params_option(),
        click.Option(["--failed"], is_flag=True, help="Only products that failed."),
    ],
    help="Show the catalog: each product's state, seconds and error at each stage.",
)

cli = click.Group(name="mpod_pipeline", commands={"run": run, "status": status})
