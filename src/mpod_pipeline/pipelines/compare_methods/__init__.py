"""The paper's table: every method on every photo, scored by what its models look like.

Cutouts and words are made once, outlines once for all methods that share them, then each method in its namespace.
"""

from __future__ import annotations

from collections.abc import Iterable

from kedro.pipeline import Node, Pipeline

from mpod_pipeline.method.comparison.methods import METHODS, OURS, OUTLINE_OF, SECTIONS
from mpod_pipeline.method.steps import COMPARING_STEPS, STEP_BY_NAME, Step
from mpod_pipeline.pipelines.compare_methods.nodes import BY_METHOD, report_comparison
from mpod_pipeline.pipelines.steps import step_node
from mpod_pipeline.pipelines.wiring import named_node

#: Made once, whatever method.
SHARED = tuple(STEP_BY_NAME[name] for name in ("segment", "learn_tokens"))
#: The outline, and what comes after it.
TO_THE_MASKS = tuple(STEP_BY_NAME[name] for name in ("optimize_outline", "export_masks"))
FROM_THE_MASKS = (STEP_BY_NAME["refine_detail"], STEP_BY_NAME["export_models"], *COMPARING_STEPS)


def create_pipeline() -> Pipeline:
    sharing = tuple(name for name, source in OUTLINE_OF.items() if source == OURS)
    outlines = Pipeline(
        [step_node(step, sharing) for step in TO_THE_MASKS], parameters=_settings_of(OURS, TO_THE_MASKS)
    )
    shared = Pipeline([step_node(step) for step in SHARED])
    return sum((_method(name) for name in METHODS), shared + outlines) + Pipeline([_report()])


def _method(name: str) -> Pipeline:
    """A method's own steps. What others make, and what lies in the folder of photos, has no namespace."""
    steps = FROM_THE_MASKS if OUTLINE_OF[name] == OURS else (*TO_THE_MASKS, *FROM_THE_MASKS)
    nodes = [step_node(step, (name,)) for step in steps]
    made = {artifact for step in steps for artifact in step.makes}
    wanted = {need for each in nodes for need in each.inputs if not need.startswith("params:")}
    return Pipeline(
        nodes,
        namespace=name,
        inputs=wanted - made - {"history"},
        parameters=_settings_of(name, steps) | {each: each for each in _common(nodes)},
    )


def _settings_of(name: str, steps: Iterable[Step]) -> dict[str, str]:
    return {f"params:{step.section}": f"params:methods.{name}.{step.section}" for step in steps}


def _common(nodes: Iterable[Node]) -> set[str]:
    """The settings that no method has otherwise."""
    own = {f"params:{section}" for section in SECTIONS}
    return {name for each in nodes for name in each.inputs if name.startswith("params:")} - own


def _report() -> Node:
    shared = {name: name for name in ("photos", "cutouts", "history")}
    by_method = {f"{name}__{kind}": f"{name}.{dataset}" for name in METHODS for kind, dataset in BY_METHOD.items()}
    settings = {
        f"{name}__{part}": f"params:methods.{name}.{part}" for name in METHODS for part in ("outline", "detail")
    }
    return named_node(report_comparison, {**shared, "compare": "params:compare", **by_method, **settings}, "comparison")
