from __future__ import annotations

from typing import Any

import click
import pytest
from kedro.framework.cli.project import run as kedro_run

from mpod_pipeline.cli import run, split_params


def parse(text: str) -> Any:
    return split_params(click.Context(run), run.params[-1], text)


@pytest.mark.parametrize(
    ("text", "params"),
    [
        ("", {}),
        ("photos=/a b/c,workspace=d", {"photos": "/a b/c", "workspace": "d"}),
        ("products=[mug,shoe],force=true", {"products": ["mug", "shoe"], "force": True}),
        (
            "outline.steps=20,detail.texture.size=512",
            {"outline": {"steps": 20}, "detail": {"texture": {"size": 512}}},
        ),
    ],
)
def test_params_are_nested_and_take_lists(text: str, params: dict[str, Any]) -> None:
    assert parse(text) == params


@pytest.mark.parametrize("text", ["photos", "=x"])
def test_params_without_a_key_or_a_value_are_refused(text: str) -> None:
    with pytest.raises(click.UsageError):
        parse(text)


def test_every_other_option_is_kedros_own() -> None:
    assert {option.name for option in run.params} == {option.name for option in kedro_run.params}
