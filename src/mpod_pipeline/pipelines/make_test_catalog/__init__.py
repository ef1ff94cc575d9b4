"""Products to compare methods on, from our own generator: nothing but seeds go in."""

from __future__ import annotations

from kedro.pipeline import Pipeline

from mpod_pipeline.pipelines.make_test_catalog.nodes import make_test_catalog
from mpod_pipeline.pipelines.wiring import named_node


def create_pipeline() -> Pipeline:
    made = ("shoes", "test_products", "products", "ground_truth")
    return Pipeline([named_node(make_test_catalog, None, {name: f"test_catalog_{name}" for name in made})])
