"""A step that is declared, and has a module, is a node, a pipeline and a row of the records: as CONTRIBUTING says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from kedro.io import DataCatalog, MemoryDataset
from kedro.runner import SequentialRunner
from kedro.validation.type_extractor import TypeExtractor

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch.parameters import BatchParameters, ExecutorParameters
from mpod_pipeline.batch.records import read_record
from mpod_pipeline.datasets import HistoryDataset, ProductPartitions, StepRecords, connect_history
from mpod_pipeline.method import steps
from mpod_pipeline.method.steps import Given, Step
from mpod_pipeline.pipelines.steps import step_pipeline
from mpod_pipeline.publish.steps import EVERY_STEP

WEIGH = Step(
    "weigh", section="weighing", needs={"mesh": "meshes"}, makes=("weights",), shown=("weights",), code_version=1
)
BATCH = BatchParameters(
    seed=0,
    max_failed_fraction=1,
    products=None,
    force=False,
    checkpoint_every_seconds=None,
    executor=ExecutorParameters(kind="in_process"),
)


class WeighingSettings(Parameters):
    kg_per_byte: float = 0.5


@pytest.fixture
def toy_step(monkeypatch: pytest.MonkeyPatch) -> Iterator[Step]:
    """The step's module, as it would lie in method/steps."""
    module = ModuleType(f"{steps.__name__}.weigh", "Weigh every model.")

    def load(settings: WeighingSettings) -> float:
        return settings.kg_per_byte

    def make(kg_per_byte: float, given: Given) -> dict[str, Any]:
        return {"weights": len(given["mesh"]) * kg_per_byte}

    vars(module).update(Settings=WeighingSettings, load=load, make=make)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    yield WEIGH


def catalog_in(folder: Path, settings: WeighingSettings) -> DataCatalog:
    catalog = DataCatalog(
        {
            "meshes": ProductPartitions(path=str(folder / "meshes"), format="glb"),
            "weights": ProductPartitions(path=str(folder / "weights"), format="json"),
            "weigh_records": StepRecords(path=str(folder), step="weigh"),
            "history": HistoryDataset(path=str(folder / "records"), checkpoints=str(folder / "checkpoints")),
            "params:weighing": MemoryDataset(settings, copy_mode="assign"),
            "params:batch": MemoryDataset(BATCH, copy_mode="assign"),
        }
    )
    connect_history(catalog)
    return catalog


def test_a_declared_step_runs_as_a_node_and_is_recorded(toy_step: Step, tmp_path: Path) -> None:
    catalog = catalog_in(tmp_path, WeighingSettings())
    catalog.save("meshes", {"mug": b"four", "shoe": b"sixsix"})
    pipeline = step_pipeline(toy_step)
    SequentialRunner().run(pipeline, catalog)
    weights = catalog.load("weights")
    assert {product: weights[product]() for product in weights} == {"mug": 2.0, "shoe": 3.0}
    record = read_record(catalog.load("weigh_records"), "mug")
    assert record is not None and (record.state, set(record.outputs)) == ("made", {"weights"})

    written = (tmp_path / "weights/mug.json").stat().st_mtime_ns
    SequentialRunner().run(pipeline, catalog)  # nothing to make again
    assert (tmp_path / "weights/mug.json").stat().st_mtime_ns == written
    SequentialRunner().run(pipeline, catalog_in(tmp_path, WeighingSettings(kg_per_byte=1.0)))
    assert catalog.load("weights")["mug"]() == 4.0


def test_kedro_knows_the_types_of_its_settings(toy_step: Step) -> None:
    types = TypeExtractor({"weigh": step_pipeline(toy_step)}).extract_types_from_pipelines()
    assert types["weighing"] is WeighingSettings and types["batch"] is BatchParameters


def test_every_step_gets_what_steps_before_it_make() -> None:
    """Or what lies in the folder of photos."""
    known = {"photos", "photo_masks", "further_photos", "ground_truth"}
    for step in EVERY_STEP:
        assert set(step.needs.values()) <= known
        assert step.optional <= step.needs.keys() and set(step.shown) <= set(step.makes)
        known |= set(step.makes)
