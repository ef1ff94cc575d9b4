"""The project's `kedro run`: Kedro's own, but ``--params`` takes lists, as in
``--params=products=[shoe,mug]``.
"""

from __future__ import annotations

from typing import Any

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.cli.utils import split_node_names
from omegaconf import OmegaConf


def split_params(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """``a=1,b.c=[x,y]`` as nested settings. Kedro's own callback splits at every comma, also within
    brackets.
    """
    if isinstance(value, dict):  # from a file given by --config
        return value
    items = split_node_names(context, option, value)
    for item in items:
        key, equals, _ = item.partition("=")
        if not equals or not key.strip():
            context.fail(f"`{item}` in --params is not of the form key=value.")
    return OmegaConf.to_container(OmegaConf.from_dotlist(items))


run = click.Command(
    name="run",
    callback=kedro_run.callback,
    params=[option for option in kedro_run.params if option.name != "params"]
    + [
        click.Option(
            ["--params"],
            default="",
            callback=split_params,
            help="Settings of this run: key=value, nested by dots, separated by commas, lists in brackets.",
        )
    ],
    help=kedro_run.help,
)

cli = click.Group(name="mpod_pipeline", commands={"run": run})
