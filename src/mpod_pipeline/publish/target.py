"""What the steps of all targets have in common: make the file, let it pass the gate, write down what the gate says."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from mpod_pipeline.method.steps import Given
from mpod_pipeline.publish.checks import FORMATS, Examined, what_is_wrong
from mpod_pipeline.publish.contents import Contents, contents_of_glb
from mpod_pipeline.publish.decisions import model_hash
from mpod_pipeline.publish.npm import errors_in, find_validator
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.publish.usdz import contents_of_usdz, to_usdz, what_arkit_would_say
from mpod_pipeline.publish.variants import within

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tools:
    """validator: the folder of Khronos' validator, where there is one."""

    validator: Path | None


def load_tools(settings: TargetSettings) -> Tools:
    return Tools(find_validator(settings.validator))


def check_tools(tools: Tools, settings: TargetSettings) -> None:
    """Say at the start what will not be checked."""
    if tools.validator is None:
        _say_that_it_lacks(settings.validator)


@cache  # once for all targets
def _say_that_it_lacks(validator: Path) -> None:
    logger.warning(
        "Khronos' validator is not at %s, so its check is left out; `npm install gltf-validator` in the project's "
        "folder gets it.",
        validator,
    )


def make_glb(
    target: str,
    tools: Tools,
    given: Given,
    *,
    packed: Callable[[bytes], bytes] | None = None,
    unpacked: Callable[[bytes], bytes] | None = None,
) -> dict[str, Any]:
    """A target's GLB; by ``packed``, one for browsers, whose textures may be WebP. unpacked: what makes of it a file
    that the checks can read, where they cannot read it itself.
    """
    limits: TargetSettings = given.settings
    data = within(given["mesh"], limits.triangles, limits.texture_size)
    data = packed(data) if packed else data
    formats = (*FORMATS, "WEBP") if packed else FORMATS
    readable = unpacked(data) if unpacked else data
    contents = replace(contents_of_glb(readable), size=len(data))
    wrong = what_is_wrong(Examined(target, contents, limits, formats))
    if tools.validator:
        errors = [error for file in {data: None, readable: None} for error in errors_in(file, tools.validator)]
        wrong += [f"Khronos' validator: {error}" for error in dict.fromkeys(errors)]
    by = ["own checks", *(["Khronos' validator"] if tools.validator else [])]
    return _made(target, given, data, contents, wrong, by, ".glb")


def make_usdz(target: str, tools: None, given: Given) -> dict[str, Any]:
    limits: TargetSettings = given.settings
    data = to_usdz(within(given["mesh"], limits.triangles, limits.texture_size))
    contents = contents_of_usdz(data)
    wrong = [*what_is_wrong(Examined(target, contents, limits)), *what_arkit_would_say(data)]
    by = ["own checks", "OpenUSD's validators"]
    return _made(target, given, data, contents, wrong, by, ".usdz")


def _made(
    target: str, given: Given, data: bytes, contents: Contents, wrong: list[str], by: list[str], suffix: str
) -> dict[str, Any]:
    width, height, depth = contents.dimensions_m
    report = {
        "model": model_hash(given["mesh"]),
        "suffix": suffix,
        "wrong": wrong,
        "checked_by": by,
        "bytes": len(data),
        "triangles": len(contents.faces),
        "textures": [f"{texture.width} x {texture.height} {texture.format}" for texture in contents.textures],
        "width_m": round(width, 4),
        "height_m": round(height, 4),
        "depth_m": round(depth, 4),
    }
    return {f"publish_{target}_files": data, f"publish_{target}_checks": report}
