"""The pipeline `publish` as Kedro runs it, on a workspace with three models, one of which cannot be read."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.publish.decisions import Decision, add_decision, model_hash
from tests.command import ROOT
from tests.publish.conftest import glb, mesh, photos  # noqa: F401

TARGETS = ["web", "shopify", "google", "amazon", "ar_ios", "banner"]
TABLE = "id,photo,title,category,height_cm\nmug,mug.png,A mug,Kitchen,\ntall,tall.png,,,50\nbroken,broken.png,,,\n"


@pytest.fixture
def workspace(
    glb: bytes,  # noqa: F811
    photos: Cutouts,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Path]:
    """As the method leaves it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    monkeypatch.chdir(ROOT)
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/products.csv").write_text(TABLE)
    bootstrap_project(ROOT)
    with session(tmp_path) as open_session:
        catalog = open_session.load_context().catalog
        picture = np.full((32, 32, 3), 99, np.uint8)
        for product in ("mug", "tall", "broken"):
            catalog.save("meshes", {product: glb if product != "broken" else b"no model"})
            catalog.save("cutouts", {product: photos})
            catalog.save("evaluations", {product: {"photo_psnr": 31.0, "flags": ""}})
            for name in ("turntables", "normals", "words"):
                catalog.save(name, {product: picture})
    yield tmp_path


def session(workspace: Path, **params: Any) -> KedroSession:
    own = {"photos": str(workspace / "photos"), "workspace": str(workspace / "ws")}
    batch = {"executor": {"kind": "in_process"}}
    return KedroSession.create(ROOT, runtime_params={**own, "batch": batch, **params})


def publish(workspace: Path, **params: Any) -> dict[tuple[str, str], dict[str, str]]:
    """Run the pipeline; the rows of its table, by product and target."""
    with session(workspace, publish=params) as open_session:
        open_session.run(pipeline_names=["publish"])
    with (workspace / "ws/08_reporting/publish.csv").open() as file:
        return {(row["product"], row["target"]): row for row in csv.DictReader(file)}


def published(workspace: Path) -> list[str]:
    folder = workspace / "ws/07_model_output/published"
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_every_target_is_made_checked_and_published(workspace: Path) -> None:
    rows = publish(workspace, base_url="https://shop.example")
    assert {(product, target) for product, target in rows if product == "mug"} == {("mug", name) for name in TARGETS}
    assert all(rows["mug", target]["published"] == "True" for target in TARGETS), rows
    for target in TARGETS:  # one's trouble is its own
        assert rows["tall", target]["reason"].startswith("Its height is 9.6 cm, and products.csv says 50.0 cm")
        assert "not a GLB" in rows["broken", target]["reason"] and rows["broken", target]["passed"] == "False"
    files = {f"{target}/mug.{'usdz' if target == 'ar_ios' else 'glb'}" for target in TARGETS}
    assert set(published(workspace)) == {*files, "posters/mug.webp"}
    feed = (workspace / "ws/08_reporting/feeds/google.tsv").read_text().splitlines()
    assert feed[1:] == ["mug\thttps://shop.example/google/mug.glb"]

    site = workspace / "ws/08_reporting/site"
    catalog = json.loads((site / "catalog.js").read_text().removeprefix("const CATALOG = ").rstrip(";\n"))
    by_id = {entry["id"]: entry for entry in catalog}
    assert by_id["mug"]["title"] == "A mug" and by_id["mug"]["published"]["web"] == ""
    assert by_id["broken"]["failed"].startswith("publish_web: ") and by_id["broken"]["model"] == ""
    assert sorted(path.name for path in (site / "products").iterdir()) == ["mug.js", "tall.js"]


def test_nothing_is_made_again_and_decisions_are_followed(workspace: Path, glb: bytes) -> None:  # noqa: F811
    publish(workspace, targets=["google"])
    made = workspace / "ws/07_model_output/targets/google/mug.glb"
    before = made.stat().st_mtime_ns
    assert published(workspace) == ["google/mug.glb", "posters/mug.webp"]
    rows = publish(workspace, targets=["google"], approved_only=True)
    assert rows["mug", "google"]["reason"] == "Nobody has approved this model yet."
    assert published(workspace) == []
    add_decision(workspace / "ws/decisions.csv", Decision("mug", model_hash(glb), "approved", who="ana"))
    assert publish(workspace, targets=["google"], approved_only=True)["mug", "google"]["published"] == "True"
    add_decision(workspace / "ws/decisions.csv", Decision("mug", model_hash(glb), "rejected", "too blue", "ana"))
    rows = publish(workspace, targets=["google"])
    assert rows["mug", "google"]["reason"] == "Rejected by ana: too blue."
    assert published(workspace) == [] and made.stat().st_mtime_ns == before


def test_other_targets_are_left_alone(workspace: Path) -> None:
    rows = publish(workspace, targets=["banner"])
    assert {target for _, target in rows} == {"banner"}
    assert [path.name for path in (workspace / "ws/07_model_output/targets").iterdir()] == ["banner"]


def test_a_validator_without_node_stops_the_run_at_the_start(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    validator = tmp_path / "gltf-validator"
    validator.mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    with (
        session(workspace, publish_google={"validator": str(validator)}) as open_session,
        pytest.raises(SetupError, match=r"Node\.js"),
    ):
        open_session.run(pipeline_names=["publish"])
    assert not (workspace / "ws/07_model_output/targets").exists()
