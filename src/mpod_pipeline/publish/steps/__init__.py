"""The steps that publish: the files of each target, and the page of each product.

As in `method.steps`, each is declared here, once, and has a module of its name beside this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from mpod_pipeline.method.steps import COMPARING_STEPS, Step
from mpod_pipeline.method.steps import STEPS as METHOD_STEPS
from mpod_pipeline.publish.settings import Target

#: What the names of the targets' steps begin with.
PREFIX = "publish_"


@dataclass(frozen=True)
class TargetStep(Step):
    """A step that makes one target's file of a model, and what its gate says of it."""

    target: str = ""


def _target(target: str, code_version: int) -> TargetStep:
    name = f"{PREFIX}{target}"
    return TargetStep(
        name,
        section=name,
        needs={"mesh": "meshes"},
        makes=(f"{name}_files", f"{name}_checks"),
        code_version=code_version,
        package=__name__,
        target=target,
    )


TARGET_STEPS: tuple[TargetStep, ...] = tuple(_target(target, code_version=2) for target in get_args(Target))

MAKE_PAGES = Step(
    "make_pages",
    section="pages",
    needs={
        "mesh": "meshes",
        "photos": "cutouts",
        "turntable": "turntables",
        "normals": "normals",
        "words": "words",
        "evaluation": "evaluations",
    },
    makes=("pages", "thumbnails", "posters"),
    code_version=2,
    package=__name__,
)

STEPS: tuple[Step, ...] = (*TARGET_STEPS, MAKE_PAGES)
#: The method's, then these.
EVERY_STEP: tuple[Step, ...] = (*METHOD_STEPS, *STEPS)
EVERY_STEP_BY_NAME = {step.name: step for step in (*EVERY_STEP, *COMPARING_STEPS)}
#: The step that makes each artifact.
MAKER_OF = {artifact: step for step in EVERY_STEP_BY_NAME.values() for artifact in step.makes}
