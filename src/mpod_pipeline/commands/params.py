"""What is typed as ``--params``: settings, nested by dots."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mpod_pipeline.base.folders import PLACES

#: These and the folders stay texts: YAML would take the product 0471 for the number 313, the folder 1e3 for 1000.0.
PRODUCTS = ("products", "batch.products")
CLOSING = {"[": "]", "{": "}"}


class ParamsError(Exception):
    """``--params`` cannot be read. The message is a sentence."""


def read_params(texts: Iterable[str]) -> dict[str, Any]:
    """``a=1,b.c=[x,y]``, any number of such texts, as nested settings; what comes later counts. Raises ParamsError."""
    given = OmegaConf.create()
    for item in (item for text in texts for item in split_at_commas(text)):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key:
            raise ParamsError(f"`{item}` in --params is not of the form key=value.")
        try:
            if key in (*PLACES, *PRODUCTS):
                OmegaConf.update(given, key, _text(key, value))
            else:
                given.merge_with_dotlist([f"{key}={value}"])
        except (yaml.YAMLError, OmegaConfBaseException, ValueError, TypeError) as error:
            raise ParamsError(
                f"The value of `{item}` in --params cannot be read; a text with brackets, quotes, colons or commas "
                f"in it needs quotes round it, as in --params='{key}=\"a, b\"'."
            ) from error
    params: Any = OmegaConf.to_container(given)
    return {str(name): value for name, value in params.items()}


def _text(key: str, value: str) -> Any:
    """A text, or a list of texts, as it is written."""
    if key in PLACES:
        return yaml.load(value, yaml.BaseLoader) if value[:1] in ("'", '"') else value
    return None if value == "null" else yaml.load(value, yaml.BaseLoader)


def split_at_commas(text: str) -> Iterator[str]:
    """The parts between commas that stand in no brackets and no quotes. A quote opens where a value begins (in the
    middle of one it is an apostrophe). Raises ParamsError where something is not closed.
    """
    part, quote, brackets, begins = "", "", [], True
    for letter in f"{text},":
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"" and begins:
            quote = letter
        elif letter in CLOSING:
            brackets.append(letter)
        elif letter in CLOSING.values() and (not brackets or CLOSING[brackets.pop()] != letter):
            raise ParamsError(_unbalanced(letter, "opened", text))
        elif letter == "," and not brackets:
            if part.strip():
                yield part.strip()
            part, begins = "", True
            continue
        begins = not quote and (letter in "=[{,:" or (begins and letter.isspace()))
        part += letter
    if quote or brackets:
        raise ParamsError(_unbalanced(quote or brackets[-1], "closed", text))


def _unbalanced(letter: str, lacks: str, text: str) -> str:
    return (
        f"`{letter}` is never {lacks} in --params={text} (a text with a bracket in it needs quotes round it, as in "
        "--params='photos=\"/srv/a[b\"')."
    )
