"""Draw every model from fixed cameras, whatever it is made of."""

from __future__ import annotations

from typing import Any

from mpod_pipeline.geometry.glb import from_glb
from mpod_pipeline.method.comparison.views import DrawingParameters, draw_views
from mpod_pipeline.method.steps import Given

Settings = DrawingParameters


def unused(settings: DrawingParameters) -> frozenset[str]:
    return frozenset({"detail"} if settings.of != "points" else ())


def make(models: None, given: Given) -> dict[str, Any]:
    points = given["detail"].points if "detail" in given.inputs else None
    views = draw_views(given["photos"], given["field"], from_glb(given["mesh"]), points, given.settings)
    return {"model_views": views}
