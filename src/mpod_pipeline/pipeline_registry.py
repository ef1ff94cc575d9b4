"""The project's pipelines: each folder in `pipelines`, and each step, by their names."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from kedro.pipeline import Pipeline

from mpod_pipeline import pipelines as package
from mpod_pipeline.publish.steps import EVERY_STEP

#: What runs where no pipeline is named.
DEFAULT = "catalog_to_3d"


def folders() -> list[str]:
    return [module.name for module in iter_modules(package.__path__) if module.ispkg]


def pipeline_names() -> set[str]:
    """Without an import of any."""
    return {"__default__", *folders(), *(step.name for step in EVERY_STEP)}


def register_pipelines() -> dict[str, Pipeline]:
    from mpod_pipeline.pipelines.steps import step_pipeline  # with the steps' settings, and PyTorch

    by_folder = {name: import_module(f"{package.__name__}.{name}").create_pipeline() for name in folders()}
    by_step = {step.name: step_pipeline(step) for step in EVERY_STEP}
    return {**by_step, **by_folder, "__default__": by_folder[DEFAULT]}
