"""Score every mesh, and draw its turntable and normals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.foreign_glb import from_any_glb
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.method.evaluation import Encoders, EvaluationParameters, evaluate, load_encoders
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.studio_light import as_photographed

Settings = EvaluationParameters
load = load_encoders


def make(encoders: Encoders, given: Given) -> dict[str, Any]:
    truth, flags = read_truth(given["ground_truth"])
    checks = [given["cutout_check"], given["word_check"]]
    checked = {name: value for check in checks for name, value in check.items() if name != "flags"}
    result = evaluate(given["photos"], given["field"], as_photographed(given["mesh"]), truth, encoders, given.settings)
    told = [*(check["flags"] for check in checks), *left_out(given), *result.flags, *flags]
    return {
        "evaluations": {**result.scores, **checked, "flags": "; ".join(filter(None, told))},
        "turntables": result.pictures.sheet,
        "normals": result.pictures.normals,
        "animations": result.pictures.turn,
    }


def left_out(given: Given) -> Iterator[str]:
    """A sentence on each photo that was cut out, and that stage 1 left out."""
    used = {photo.name for photo in given["photos"].photos}
    for name in given["cutout_check"]:
        photo = name.removeprefix("cutout_confidence_")
        if photo != name and photo not in used:
            yield f"the photo {photo} is left out: it does not fit the others"


def read_truth(given: bytes | TexturedMesh | None) -> tuple[TexturedMesh | None, list[str]]:
    """The true model, and what there is to say of a file that holds none: it costs the scores against it alone."""
    if given is None or isinstance(given, TexturedMesh):
        return given, []
    try:
        return from_any_glb(given), []
    except ProductError as error:
        return None, [f"ground truth not used: {error}"]
