"""The project's pipelines: each folder in `pipelines`, by its name; the default is the whole road."""

from __future__ import annotations

from kedro.framework.project import find_pipelines
from kedro.pipeline import Pipeline


def register_pipelines() -> dict[str, Pipeline]:
    """The pipelines that were asked for (Kedro loads only those), or all."""
    pipelines = find_pipelines(raise_errors=True)
    if "catalog_to_3d" in pipelines:
        pipelines["__default__"] = pipelines["catalog_to_3d"]
    return pipelines
