"""The pipeline as it is wired: node names, catalog and settings, which others build on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.batch.records import Record
from mpod_pipeline.datasets import History, ProductPartitions, ProductTable
from mpod_pipeline.datasets.tables import mean_scores
from mpod_pipeline.method.steps.evaluate import read_truth
from mpod_pipeline.pipelines.steps import tabulate_scores

ROOT = Path(__file__).parents[2]
NODES = ["segment", "learn_tokens", "optimize_outline", "export_masks", "refine_detail", "export_models", "evaluate"]
TABLE = "tabulate_scores"
#: Where the artifacts are in a workspace; others build on these places.
PLACES = {
    "cutouts": "02_intermediate/cutouts/mug.png",
    "cutout_checks": "02_intermediate/cutout_checks/mug.json",
    "tokens": "04_feature/tokens/mug.safetensors",
    "word_checks": "04_feature/word_checks/mug.json",
    "words": "08_reporting/words/mug.png",
    "outline_fields": "06_models/outline_fields/mug.safetensors",
    "outline_masks": "05_model_input/outline_masks/mug.npz",
    "detail_models": "06_models/detail_models/mug.safetensors",
    "meshes": "07_model_output/meshes/mug.glb",
    "turntables": "08_reporting/turntables/mug.png",
    "animations": "08_reporting/animations/mug.webp",
}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("workspace")


@pytest.fixture(scope="module")
def context(workspace: Path) -> Iterator[KedroContext]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
        bootstrap_project(ROOT)
        with KedroSession.create(ROOT, runtime_params={"workspace": str(workspace)}) as session:
            yield session.load_context()


def test_it_has_its_nodes_and_each_is_a_pipeline_too(context: KedroContext) -> None:
    assert {node.name for node in pipelines["catalog_to_3d"].nodes} == {*NODES, TABLE}
    assert pipelines["__default__"] == pipelines["catalog_to_3d"]
    for name in NODES:
        beside = [TABLE] if name == "evaluate" else []
        assert [node.name for node in pipelines[name].nodes] == [name, *beside]


def test_all_that_it_reads_and_writes_is_in_the_catalog(context: KedroContext) -> None:
    catalog = context.catalog
    missing = [name for name in pipelines["catalog_to_3d"].datasets() if name not in catalog]
    assert not missing


def test_artifacts_are_where_others_look_for_them(context: KedroContext, workspace: Path) -> None:
    catalog = context.catalog
    places = {name: catalog.load(name).path("mug") for name in PLACES}
    assert places == {name: workspace / place for name, place in PLACES.items()}
    assert catalog["scores"].path == workspace / "08_reporting/scores.csv"
    assert catalog["failures"].path == workspace / "08_reporting/failures.csv"


def test_the_history_knows_every_steps_artifacts(context: KedroContext) -> None:
    catalog = context.catalog
    history = catalog.load("history")
    for node in (node for node in pipelines["catalog_to_3d"].nodes if node.name in NODES):
        artifacts = [name for name in node.outputs if not name.startswith(node.name)]
        assert artifacts and set(artifacts) <= set(history.artifacts)
        for name in artifacts:
            assert history.artifacts[name].path("mug") == catalog.load(name).path("mug")


def test_every_steps_settings_are_typed(context: KedroContext) -> None:
    catalog = context.catalog
    for node in pipelines["catalog_to_3d"].nodes:
        for name in node.inputs:
            if name.startswith("params:"):
                assert isinstance(catalog.load(name), Parameters), f"{node.name}: {name}"


def test_the_graph_shows_what_a_person_looks_for(context: KedroContext) -> None:
    """Of each step, one dataset has all that is written down about it."""
    data = [name for name in pipelines["catalog_to_3d"].datasets() if not name.startswith("params:")]
    for step in NODES:
        assert [name for name in data if name.startswith(step)] == [f"{step}_records"]


def test_every_preview_can_be_drawn_before_the_first_run(context: KedroContext) -> None:
    """Kedro-Viz warns of each that cannot."""
    catalog, drawn = context.catalog, set()  # a catalog is made each time that it is asked for
    for pipeline in pipelines.values():
        for name in pipeline.datasets():
            dataset = catalog.get(name)
            settings = (getattr(dataset, "metadata", None) or {}).get("kedro-viz", {})
            if hasattr(dataset, "preview") and settings.get("preview") is not False:
                dataset.preview()
                drawn.add(name)
    assert {"photos", "cutouts", "turntables", "normals", "scores"} <= drawn


def write(folder: Path, product: str, scores: dict[str, Any] | None, state: str = "made") -> None:
    records = folder / "records" / "evaluate"
    records.mkdir(parents=True, exist_ok=True)
    record = Record(product=product, step="evaluate", state=state, fingerprint="", seconds=2.0)
    (records / f"{product}.json").write_text(record.model_dump_json())
    if scores is not None:
        (folder / "evaluations").mkdir(exist_ok=True)
        (folder / "evaluations" / f"{product}.json").write_text(json.dumps(scores))


@pytest.fixture
def history(tmp_path: Path) -> History:
    evaluations = ProductPartitions(path=str(tmp_path / "evaluations"), format="json").load()
    return History(tmp_path / "records", {"evaluations": evaluations}, tmp_path / "checkpoints")


def table_of(history: History) -> pd.DataFrame:
    return tabulate_scores(history.artifacts["evaluations"], history.records("evaluate"), history)


def test_scores_have_a_row_a_product_and_no_other(tmp_path: Path, history: History) -> None:
    write(tmp_path, "mug", {"likeness": 0.5, "psnr": 20.0, "pieces": 1, "watertight": True})
    write(tmp_path, "shoe", {"likeness": 0.75, "pieces": 2, "watertight": False})  # no ground truth, so no psnr
    write(tmp_path, "lamp", {"likeness": 0.0}, state="left out")
    write(tmp_path, "vase", None, state="failed")
    table = table_of(history).set_index("product")
    assert list(table.index) == ["mug", "shoe"]
    assert (table["pieces"].dtype, table["watertight"].dtype) == (int, bool)
    means = mean_scores(table.reset_index())
    assert (means["likeness"], means["psnr"], means["pieces"], means["watertight"]) == (0.625, 20.0, 1.5, 0.5)
    assert pd.isna(table.loc["shoe", "psnr"])
    assert table.loc["shoe", "seconds_evaluate"] == 2.0


def test_flags_are_in_the_table_and_in_no_mean(tmp_path: Path, history: History) -> None:
    write(tmp_path, "mug", {"photo_iou": 0.5, "pieces": 1, "watertight": True, "flags": "photo_iou below 0.8"})
    write(tmp_path, "shoe", {"photo_iou": 0.9, "pieces": 2, "watertight": False, "flags": ""})
    table = table_of(history).set_index("product")
    assert table.loc[["mug", "shoe"], "flags"].tolist() == ["photo_iou below 0.8", ""]
    assert "flags" not in mean_scores(table.reset_index())
    ProductTable(filepath=str(tmp_path / "scores.csv")).save(table.reset_index())
    read = ProductTable(filepath=str(tmp_path / "scores.csv")).load().set_index("product")
    assert read.loc[["mug", "shoe"], "watertight"].tolist() == [True, False]


def test_a_ground_truth_that_is_no_model_costs_its_scores_alone() -> None:
    assert read_truth(None) == (None, [])
    truth, (flag,) = read_truth(b"not a model at all")
    assert truth is None
    assert flag.startswith("ground truth not used: The file is not a GLB that can be read")


def test_scores_that_cannot_be_read_cost_their_row_alone(
    tmp_path: Path, history: History, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "mug", {"likeness": 0.5})
    write(tmp_path, "shoe", {"likeness": 0.75})
    (tmp_path / "evaluations/mug.json").write_text('{"likeness": 0.')
    assert list(table_of(history)["product"]) == ["shoe"]
    assert "mug" in caplog.text


def test_a_catalog_without_results_has_a_table_without_scores(history: History) -> None:
    assert table_of(history).to_dict(orient="records") == []
