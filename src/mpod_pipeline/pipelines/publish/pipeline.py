"""Wiring: the steps that publish, then the table, the folder of what is published, its feeds, and the page."""

from __future__ import annotations

from kedro.pipeline import Pipeline, node

from mpod_pipeline.pipelines.publish.nodes import build_site, publish
from mpod_pipeline.pipelines.steps import step_node
from mpod_pipeline.publish.steps import STEPS, TARGET_STEPS


def create_pipeline() -> Pipeline:
    checks = {step.target: f"{step.name}_checks" for step in TARGET_STEPS}
    made = {f"{step.target}_files": f"{step.name}_files" for step in TARGET_STEPS}
    known = {"history": "history", "decisions": "decisions", "product_settings": "product_settings"}
    return Pipeline(
        [
            *(step_node(step) for step in STEPS),
            node(
                publish,
                {
                    **checks,
                    **made,
                    **known,
                    **{name: name for name in ("meshes", "posters", "evaluations")},
                    "parameters": "params:publish",
                },
                {"table": "publish", "published": "published", "feeds": "feeds"},
                name="publish",
            ),
            node(
                build_site,
                {**known, "pages": "pages", "evaluations": "evaluations", "table": "publish"},
                "site",
                name="build_site",
            ),
        ]
    )
