"""From models to shops: each target's files, what the gate says of them, feeds, and the page to approve them on."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.publish.nodes import build_site, publish
from mpod_pipeline.pipelines.steps import step_node
from mpod_pipeline.pipelines.wiring import named_node
from mpod_pipeline.publish.steps import STEPS, TARGET_STEPS


def create_pipeline() -> Pipeline:
    checks = {step.target: f"{step.name}_checks" for step in TARGET_STEPS}
    made = {f"{step.target}_files": f"{step.name}_files" for step in TARGET_STEPS}
    known = {name: name for name in ("history", "decisions", "product_settings")}
    of_method = {name: name for name in ("meshes", "posters", "evaluations")}
    to_publish = {**checks, **made, **known, **of_method, "parameters": "params:publish"}
    to_show = {**known, "pages": "pages", "evaluations": "evaluations", "table": "publish"}
    return Pipeline(
        [
            *(step_node(step) for step in STEPS),
            named_node(publish, to_publish, {"table": "publish", "published": "published", "feeds": "feeds"}),
            named_node(build_site, to_show, "site"),
        ]
    )
