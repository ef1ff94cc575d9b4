"""All methods on one product for a few steps, by tiny priors; and what is told of them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from kedro.framework.context import KedroContext
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from PIL import Image

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import merged
from mpod_pipeline.hooks.presets import with_methods
from mpod_pipeline.method.comparison.methods import METHODS, OURS, OUTLINE_OF
from mpod_pipeline.method.comparison.tables import as_markdown, differences, mean_table
from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.outline import OutlineParameters
from mpod_pipeline.priors import load_text_to_image_prior
from mpod_pipeline.priors.controlnet import make_mask_control
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

ROOT = Path(__file__).parents[2]
#: As small as it goes.
TINY = {
    "batch": {"executor": {"kind": "in_process"}},
    "textual_inversion": {"steps": 1, "batch_size": 1, "looks": 1},
    "outline": {"steps": 8, "resolutions": [24], "field": {"hash_grid": {"levels": 4, "log2_table_size": 12}}},
    "masks": {"azimuths": 4, "elevations_deg": [0.0], "resolution": 32},
    "detail": {"steps": 8, "grid_resolution": 12, "resolution": 32, "outline_resolution": 24},
    "export": {"triangles": 500, "texture_size": 64, "occlusion_size": 0},
    "drawing": {"azimuths": 4, "resolution": 32, "surface_points": 200},
    "compare": {"methods": list(METHODS), "resamples": 20},
}


def photos_in(folder: Path, *products: str) -> str:
    """The sample lamp, which needs no segmentation, small."""
    folder.mkdir()
    lamp = Image.open(ROOT / "data/01_raw/striped-lamp.png").resize((96, 96))
    (folder / "ground_truth").mkdir()
    for product in products:
        lamp.save(folder / f"{product}.png")
        shutil.copy(ROOT / "data/01_raw/ground_truth/striped-lamp.glb", folder / "ground_truth" / f"{product}.glb")
    return str(folder)


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("priors")
    save_tiny_novel_view(folder / "novel_view")
    save_tiny_text_to_image(folder / "text_to_image")
    return folder


def run(given: dict[str, Any], pipeline: str = "compare_methods", env: str | None = None) -> None:
    bootstrap_project(ROOT)
    with KedroSession.create(ROOT, env=env, runtime_params=given) as session:
        session.run(pipeline_names=[pipeline])


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory, priors: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The workspace of a comparison of all methods on two products, the second of which is no product."""
    workspace = tmp_path_factory.mktemp("compared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
        prior = load_text_to_image_prior(priors / "text_to_image", precision="float32")
        make_mask_control(prior.unet, 4).save_pretrained(priors / "mask_control")
        photos = Path(photos_in(workspace / "photos", "lamp"))
        Image.new("RGBA", (64, 64)).save(photos / "nothing.png")
        given = merged(TINY, {"photos": str(photos), "workspace": str(workspace), "priors": str(priors)})
        run(given)
        yield workspace, given


def test_every_method_is_in_the_table_and_on_the_sheets(compared: tuple[Path, dict[str, Any]]) -> None:
    folder = compared[0] / "08_reporting/comparison"
    table = pd.read_csv(folder / "table1.csv")
    assert list(table["method"]) == list(METHODS) and set(table["products"]) == {1}
    assert {"similarity_efficientnet_lite0", "psnr", "silhouette_iou", "chamfer", "seconds"} <= set(table.columns)
    queries = dict(zip(table["method"], table["prior_queries"], strict=True))
    assert queries["magic123"] > queries["realfusion"] > 0
    assert queries["stage1_only"] < queries["zero123_sds"]
    assert "**" in (folder / "table1.md").read_text() and "not counted: nothing" in (folder / "table1.md").read_text()
    assert r"\toprule" in (folder / "table1.tex").read_text()
    difference = pd.read_csv(folder / "differences.csv")
    assert set(difference["method"]) == set(METHODS) - {OURS}
    assert (difference["low"] <= difference["high"]).all()
    sheet = Image.open(folder / "products/lamp.png")
    assert sheet.height == 128 * len(METHODS)
    assert set(table["dataset"]) == set(difference["dataset"]) == {"photos"}
    assert (folder / "all_methods/photos.png").is_file() and (folder / "ablations/photos.png").is_file()


def test_each_dataset_has_rows_winners_and_differences_of_its_own() -> None:
    psnr = {("a", OURS): 20.0, ("a", "magic123"): 21.0, ("b", OURS): 30.0, ("b", "magic123"): 28.0}
    rows = [
        {"dataset": dataset, "method": method, "product": f"{dataset}{i}", "psnr": value + i}
        for (dataset, method), value in psnr.items()
        for i in range(2)
    ]
    scores = pd.DataFrame(rows)
    products = sorted(set(scores["product"]))
    table = mean_table(scores, products)
    assert dict(zip(zip(table["dataset"], table["method"], strict=True), table["psnr"], strict=True)) == {
        key: value + 0.5 for key, value in psnr.items()
    }
    text = as_markdown(table, "")
    assert "**21.500**" in text and "**30.500**" in text and text.count("**") == 4
    found = differences(scores, products, 20)
    assert dict(zip(found["dataset"], found["difference"], strict=True)) == {"a": 1.0, "b": -2.0}
    assert list(found["products"]) == [2, 2]


def test_methods_that_share_outlines_have_one(compared: tuple[Path, dict[str, Any]]) -> None:
    workspace = compared[0]
    assert (workspace / "06_models/outline_fields/lamp.safetensors").is_file()
    for method, source in OUTLINE_OF.items():
        own = workspace / f"methods/{method}/06_models/outline_fields"
        assert own.exists() == (source != OURS)
        assert (workspace / f"methods/{method}/07_model_output/meshes/lamp.glb").is_file()


def test_what_is_made_is_not_made_again_and_a_method_may_be_left_out(compared: tuple[Path, dict[str, Any]]) -> None:
    workspace, given = compared
    views = workspace / "methods/realfusion/07_model_output/model_views/lamp.npz"
    written = views.stat().st_mtime_ns
    run(merged(given, {"compare": {"methods": ["mpod123", "realfusion"]}}))
    assert views.stat().st_mtime_ns == written
    table = pd.read_csv(workspace / "08_reporting/comparison/table1.csv")
    assert list(table["method"]) == ["mpod123", "realfusion"]
    failures = pd.read_csv(workspace / "08_reporting/failures.csv")
    assert list(failures["product"]) == ["nothing"]


def test_a_method_whose_weights_are_missing_is_refused_before_any_work(
    tmp_path: Path, priors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copytree(priors, tmp_path / "priors", ignore=shutil.ignore_patterns("mask_control"))
    given = {"photos": photos_in(tmp_path / "photos", "lamp"), "workspace": str(tmp_path), "method": "controlnet"}
    with pytest.raises(SetupError, match=r"no ControlNet at .*train_mask_control"):
        run(merged(TINY, given, {"priors": str(tmp_path / "priors")}), "catalog_to_3d")
    assert not (tmp_path / "02_intermediate").exists()


@pytest.mark.parametrize("method", ["magic123", "make_it_3d", "controlnet"])
def test_at_full_size_each_missing_weight_is_named(
    method: str, tmp_path: Path, priors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    shutil.copytree(priors, tmp_path / "priors", ignore=shutil.ignore_patterns("mask_control"))
    photos = photos_in(tmp_path / "photos", "lamp")
    given: dict[str, Any] = {"photos": photos, "workspace": str(tmp_path), "device": "cpu"}
    given["evaluation"] = {"open_clip": None}  # which a test is not to fetch
    if method == "make_it_3d":
        given |= {section: {"likeness": {"open_clip": None}} for section in ("outline", "detail")}
    missing = {"magic123": "dpt-beit-large-512", "make_it_3d": "dpt-hybrid-midas", "controlnet": "mask_control"}
    with pytest.raises(SetupError, match=rf"(?s)(?=.*{missing[method]})(?=.*vgg19)"):
        run(merged(given, {"priors": str(tmp_path / "priors"), "method": method}), "catalog_to_3d", "gpu")


@pytest.fixture(scope="module", params=[None, "gpu"])
def context(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KedroContext]:
    workspace = tmp_path_factory.mktemp("conf")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
        bootstrap_project(ROOT)
        given = {"workspace": str(workspace), "outline": {"novel_views": 3}}
        with KedroSession.create(ROOT, env=request.param, runtime_params=given) as session:
            yield session.load_context()


def test_every_preset_is_valid_and_in_the_catalog(context: KedroContext) -> None:
    catalog = context.catalog
    assert not [name for name in pipelines["compare_methods"].datasets() if name not in catalog]
    for method in METHODS:
        detail = DetailParameters.model_validate(catalog.load(f"params:methods.{method}.detail"))
        outline = OutlineParameters.model_validate(catalog.load(f"params:methods.{method}.outline"))
        assert outline.novel_views == 3  # --params is over every preset
        assert detail.weights.outline_colour == 0
    assert catalog.load("params:detail").weights.outline_colour > 0


def test_the_method_that_is_asked_for_is_in_the_sections() -> None:
    sections = {"outline": {"steps": 5, "sds": {"weight": 1}}, "masks": {}, "detail": {}, "export": {}}
    given = {
        **sections,
        "drawing": {},
        "evaluation": {},
        "score_priors": {"method": {"outline": {}}},
        "compare": {"settings": {"export": {"photo_pixels": False}}},
        "methods": {"mpod123": {}, "magic123": {"outline": {"sds": {"weight": 2}}}},
        "method": "magic123",
    }
    made = with_methods(given, {"outline": {"steps": 9}})
    assert made["outline"] == {"steps": 9, "sds": {"weight": 2}} == made["score_priors"]["method"]["outline"]
    assert made["methods"]["mpod123"]["outline"] == {"steps": 9, "sds": {"weight": 1}}
    assert made["methods"]["magic123"]["export"] == {"photo_pixels": False} and made["export"] == {}
    scored = with_methods(given, {"outline": {"steps": 9}, "score_priors": {"method": {"outline": {"steps": 2}}}})
    assert scored["score_priors"]["method"]["outline"] == {"steps": 2, "sds": {"weight": 2}}
    assert scored["outline"]["steps"] == 9
    with pytest.raises(SetupError, match="did you mean 'magic123'"):
        with_methods({**given, "method": "magic12"}, {})
    with pytest.raises(SetupError, match="takes its outlines from mpod123"):
        with_methods({**given, "methods": {"magic123": {}, "stage1_only": {"outline": {"steps": 3}}}}, {})
