"""A step whose code has changed has a new version, or somebody has said that its results are the same.

``python -m tests.method.test_step_versions`` writes the present state down.
"""

from __future__ import annotations

import ast
import hashlib
import io
import json
import tokenize
from pathlib import Path

import grimp
import pytest

from mpod_pipeline.method import steps
from mpod_pipeline.method.steps import Step
from mpod_pipeline.publish.steps import EVERY_STEP_BY_NAME

EVERY_STEP = tuple(EVERY_STEP_BY_NAME.values())
STATE = Path(__file__).with_name("step_versions.json")
SOURCE = Path(steps.__file__).parents[3]
#: What is no part of a step's results.
APART = (
    "mpod_pipeline.method.steps",
    "mpod_pipeline.publish.steps",
    "mpod_pipeline.method.reconstruct",
    "mpod_pipeline.base.report",
)


def modules_of(step: Step, graph: grimp.ImportGraph) -> list[str]:
    """The step's module, and all that it imports of ours, directly or not."""
    own = f"{step.package}.{step.name}"
    return sorted({own, *graph.find_upstream_modules(own)} - set(APART))


def code_of(module: str) -> str:
    """A module's tokens, without comments, docstrings, blank lines and the lengths of lines."""
    place = SOURCE.joinpath(*module.split("."))
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    source = file.read_text(encoding="utf-8")
    documentation = {
        node.body[0].lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node)
    }
    kept = (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING, tokenize.INDENT, tokenize.DEDENT)
    tokens = [
        token
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type in kept and not (token.type == tokenize.STRING and token.start[0] in documentation)
    ]
    # a comma before a closing bracket goes with the length of the line
    return " ".join(
        token.string.strip()
        for token, following in zip(tokens, [*tokens[1:], None], strict=True)
        if not (token.string == "," and following and following.string in (")", "]", "}"))
    )


def present_state() -> dict[str, dict[str, int | str]]:
    graph = grimp.build_graph("mpod_pipeline", include_external_packages=False, cache_dir=None)
    code = {module: code_of(module) for step in EVERY_STEP for module in modules_of(step, graph)}
    return {
        step.name: {
            "code_version": step.code_version,
            "code": hashlib.sha256("\n".join(code[m] for m in modules_of(step, graph)).encode()).hexdigest(),
        }
        for step in EVERY_STEP
    }


@pytest.fixture(scope="module")
def now() -> dict[str, dict[str, int | str]]:
    return present_state()


@pytest.mark.parametrize("step", EVERY_STEP, ids=lambda step: step.name)
def test_changed_code_has_a_new_version(step: Step, now: dict[str, dict[str, int | str]]) -> None:
    written = json.loads(STATE.read_text())[step.name]
    if now[step.name]["code_version"] == written["code_version"]:
        assert now[step.name]["code"] == written["code"], (
            f"The code that {step.name} runs has changed. If it makes something else now, raise its code_version in "
            "where it is declared. Then run: python -m tests.method.test_step_versions"
        )
    else:
        assert now[step.name] == written, "Run: python -m tests.method.test_step_versions"


if __name__ == "__main__":
    STATE.write_text(json.dumps(present_state(), indent=1) + "\n")
