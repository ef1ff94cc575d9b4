"""The examples in docstrings run."""

from __future__ import annotations

import doctest
from importlib import import_module

import pytest

MODULES = (
    "datasets.codecs",
    "datasets.partitions",
    "datasets.tables",
    "geometry.glb",
    "geometry.glb_file",
    "geometry.marching_tetrahedra",
    "geometry.mesh",
    "method.cutouts",
    "metrics.colour",
    "metrics.contextual",
    "metrics.details",
    "metrics.ground_truth",
    "metrics.similarity",
    "rendering.cameras",
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_true(name: str) -> None:
    ran = doctest.testmod(import_module(f"mpod_pipeline.{name}"))
    assert ran.attempted > 0 and ran.failed == 0
