"""The real pipeline's wiring with work that costs nothing: who fails where, and what a changed setting redoes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from kedro.framework.project import settings
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.batch import Work
from mpod_pipeline.batch.records import Record
from mpod_pipeline.batch.status import CatalogStatus
from mpod_pipeline.commands.catalog_status import look_at_catalog
from mpod_pipeline.fields.hash_encoding import HashGridParameters
from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.fields.stored import Stored
from mpod_pipeline.hooks import preflight
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.masks import OutlineMasks
from mpod_pipeline.method.steps import STEPS, Step
from mpod_pipeline.pipelines import steps

ROOT = Path(__file__).parents[2]
PRODUCTS = tuple("abcdefgh")
STEP_NAMES = tuple(step.name for step in STEPS)
#: Each step with those that need what it makes.
NEEDING = {
    "segment": set(STEP_NAMES),
    "learn_tokens": {"learn_tokens", "refine_detail", "export_models", "evaluate"},
    "optimize_outline": {"optimize_outline", "export_masks", "refine_detail", "export_models", "evaluate"},
    "export_masks": {"export_masks", "refine_detail", "export_models", "evaluate"},
    "refine_detail": {"refine_detail", "export_models", "evaluate"},
    "export_models": {"export_models", "evaluate"},
    "evaluate": {"evaluate"},
}
TINY = OutlineFieldParameters(
    hash_grid=HashGridParameters(levels=1, log2_table_size=4, base_resolution=2, finest_resolution=2),
    mlp_width=4,
    occupancy_resolution=2,
)


def picture(text: str) -> np.ndarray:
    return np.frombuffer(text.encode().ljust(64)[:64], np.uint8).reshape(4, 4, 4)


def tensor(text: str) -> torch.Tensor:
    return torch.tensor(list(text.encode()), dtype=torch.float32)


def number(text: str) -> int:
    return int(hashlib.sha256(text.encode()).hexdigest()[:5], 16)


def field(text: str) -> Stored:
    made = OutlineField(TINY)
    with torch.no_grad():
        made.network["density"].output.fill_(number(text))
    return made.stored()


def surface(text: str) -> Stored:
    faces = torch.tensor([[0, 1, 2]])
    return PaintedSurface(torch.full((3, 3), float(number(text))), faces, OutlineField(TINY)).stored()


#: How each artifact carries a text.
CARRIERS: dict[str, Callable[[str], Any]] = {
    "cutouts": lambda text: Cutouts.of(picture(text), number(text)),
    "cutout_checks": lambda text: {"cutout_confidence": float(len(text)), "flags": ""},
    "tokens": tensor,
    "word_checks": lambda text: {"word_similarity": float(len(text)), "flags": ""},
    "words": picture,
    "outline_fields": field,
    "aligned_photos": lambda text: Cutouts.of(picture(text), number(text)),
    "outline_masks": lambda text: OutlineMasks(*[np.array(number(text))] * 4),
    "detail_models": surface,
    "meshes": str.encode,
    "evaluations": lambda text: {"likeness": float(len(text))},
    "turntables": picture,
    "normals": picture,
    "animations": lambda text: picture(text)[None, ..., :3],
}


def told(value: Any) -> str:
    """A text that differs where artifacts differ."""
    if isinstance(value, OutlineField):
        return str(value.network["density"].output[0, 0].tolist())
    if isinstance(value, PaintedSurface):
        return str(value.vertices.tolist())
    if isinstance(value, OutlineMasks):
        return str(value.opacity)
    if isinstance(value, Cutouts):
        return str(value.front.elevation_deg)
    if isinstance(value, bytes):
        return value.hex()
    return str(value.tolist() if isinstance(value, np.ndarray | torch.Tensor) else value)


class Pipeline:
    """The project's pipeline on eight photos that say where their product fails; `worked`: the last run's work."""

    def __init__(self, folder: Path) -> None:
        self.photos, self.workspace = folder / "photos", folder / "workspace"
        self.worked: list[tuple[str, str]] = []
        self._troubles: dict[str, str] = {}
        self.photos.mkdir()
        for product in PRODUCTS:
            self.photograph(product)

    def photograph(self, product: str, fails_in: str = "") -> None:
        (self.photos / f"{product}.jpg").write_text(f"{product} {fails_in}")
        self._troubles[product] = fails_in

    def open_step(self, step: Step, *_: object) -> Work:
        def work(inputs: Mapping[str, Any], seed: int, *_: object) -> dict[str, Any]:
            product = self._products[(step.name, seed)]
            self.worked.append((step.name, product))
            if self._troubles[product] == step.name:
                raise ProductError(f"It fails in {step.name}.")
            parts = [step.name, *(told(value) for value in inputs.values())]
            digest = hashlib.sha256("/".join(parts).encode()).hexdigest()
            return {name: CARRIERS[name](digest) for name in step.makes}

        return work

    @property
    def _products(self) -> dict[tuple[str, int], str]:
        from mpod_pipeline.batch.fingerprints import seed_of

        return {(step, seed_of(0, step, product)): product for step in STEP_NAMES for product in PRODUCTS}

    def run(self, **params: Any) -> list[tuple[str, str]]:
        self.worked.clear()
        batch = {"executor": {"kind": "in_process"}}  # where the steps' work is replaced
        given = {"photos": str(self.photos), "workspace": str(self.workspace), "batch": batch, **params}
        with KedroSession.create(ROOT, runtime_params=given) as session:
            session.run(pipeline_names=["catalog_to_3d"])
        return list(self.worked)

    def records(self) -> dict[tuple[str, str], Record]:
        folder = self.workspace / "08_reporting/records"
        records = (Record.model_validate_json(path.read_bytes()) for path in folder.glob("*/[!.]*.json"))
        return {(record.step, record.product): record for record in records}

    def failures(self) -> list[list[str]]:
        return pd.read_csv(self.workspace / "08_reporting/failures.csv").to_numpy().tolist()


@pytest.fixture
def pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipeline]:
    pipeline = Pipeline(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/absent/mlflow.db")  # not what is tested
    monkeypatch.setattr(preflight, "check_run", lambda *_: None)  # no model is opened
    monkeypatch.setattr(steps, "open_step", pipeline.open_step)
    bootstrap_project(ROOT)
    yield pipeline


def test_each_step_in_turn_fails_one_product_and_a_new_photo_clears_it(pipeline: Pipeline) -> None:
    for step, product in zip(STEP_NAMES, PRODUCTS, strict=False):
        shutil.rmtree(pipeline.workspace, ignore_errors=True)
        pipeline.photograph(product, fails_in=step)
        pipeline.run()
        others = {(s, p) for s in STEP_NAMES for p in PRODUCTS if p != product}
        unhurt = others | {(s, product) for s in STEP_NAMES if s not in NEEDING[step]}
        assert {key for key, record in pipeline.records().items() if record.state == "made"} == unhurt
        assert set(pipeline.records()) == unhurt | {(step, product)}
        record = pipeline.records()[step, product]
        assert (record.state, record.error, record.attempt) == ("failed", "ProductError", 1)
        assert pipeline.failures() == [[product, step, "ProductError", f"It fails in {step}."]]

        untouched = {key: record for key, record in pipeline.records().items() if key[1] != product}
        pipeline.photograph(product)
        assert pipeline.run() == [(s, product) for s in STEP_NAMES]
        assert pipeline.failures() == []
        assert {key: record for key, record in pipeline.records().items() if key[1] != product} == untouched
        assert all(record.state == "made" for record in pipeline.records().values())


def test_a_row_of_the_table_redoes_the_steps_that_it_speaks_of(pipeline: Pipeline) -> None:
    pipeline.run()
    said = {"photo_elevation_deg": "segment", "long_side_m": "export_models", "category": "learn_tokens"}
    for column, step in said.items():
        rows = "".join(f"{product},{product}.jpg,{'0.5' if product == 'c' else ''}\n" for product in PRODUCTS)
        table = pipeline.photos / "products.csv"
        table.write_text(f"id,photo,{column}\n{rows}")
        redone = {(s, "c") for s in NEEDING[step]}
        assert set(pipeline.run()) == redone
        with pytest.raises(SetupError, match=rf"c was made with settings of its own \({column} 0.5\)"):
            table.unlink()  # or another folder of photos
            pipeline.run()
        assert pipeline.worked == []
        table.write_text(f"id,photo,{column}\n{rows.replace('0.5', '')}")
        assert set(pipeline.run()) == redone


def test_a_photo_of_another_side_redoes_its_product(pipeline: Pipeline) -> None:
    """When it comes, is changed, is renamed to another side, and goes."""
    pipeline.run()
    everything = {(s, "c") for s in STEP_NAMES}
    back, left = pipeline.photos / "c.back.jpg", pipeline.photos / "c.left.jpg"
    back.write_text("the back")
    assert set(pipeline.run()) == everything
    assert pipeline.run() == []
    assert "further_photos/back at 180" in pipeline.records()["segment", "c"].inputs
    back.write_text("another back")
    assert set(pipeline.run()) == everything
    back.rename(left)
    assert set(pipeline.run()) == everything
    left.unlink()
    assert set(pipeline.run()) == everything
    assert pipeline.run() == []


def test_a_changed_setting_redoes_its_step_and_what_needs_it(pipeline: Pipeline) -> None:
    changes: list[tuple[str, str, Any]] = [
        ("segment", "segmentation", {"size": 96}),
        ("learn_tokens", "textual_inversion", {"steps": 7}),
        ("optimize_outline", "outline", {"steps": 7}),
        ("export_masks", "masks", {"resolution": 32}),
        ("refine_detail", "detail", {"steps": 7}),
        ("export_models", "export", {"triangles": 500, "texture_size": 512, "long_side_m": 0.1}),
        ("evaluate", "evaluation", {"azimuths": 3}),
    ]
    pipeline.run()
    params: dict[str, Any] = {}
    for step, section, change in changes:
        before, params[section] = pipeline.records(), change
        redone = {(s, product) for s in NEEDING[step] for product in PRODUCTS}
        worked = pipeline.run(**params)
        assert set(worked) == redone and len(worked) == len(redone)
        assert {key for key, record in pipeline.records().items() if record != before[key]} == redone


def status_of(pipeline: Pipeline, **params: Any) -> CatalogStatus:
    """With everything in the workspace as it was."""
    before = {path: path.stat().st_mtime_ns for path in pipeline.workspace.rglob("*")}
    given = {"photos": str(pipeline.photos), "workspace": str(pipeline.workspace), **params}
    loader = settings.CONFIG_LOADER_CLASS(
        conf_source=str(ROOT / "conf"), runtime_params=given, **settings.CONFIG_LOADER_ARGS
    )
    status = look_at_catalog(loader)
    assert {path: path.stat().st_mtime_ns for path in pipeline.workspace.rglob("*")} == before
    return status


def stale_in(status: CatalogStatus) -> set[tuple[str, str]]:
    return {
        (step, product.id) for product in status.products for step, at in product.steps.items() if at.state == "stale"
    }


def test_status_knows_what_a_run_would_make_again(pipeline: Pipeline) -> None:
    assert "No run has made anything" in status_of(pipeline).remarks[0]
    assert not pipeline.workspace.exists()
    pipeline.run()
    assert status_of(pipeline).counts == {"complete": 8, "failed": 0, "unfinished": 0}
    assert stale_in(status_of(pipeline, masks={"resolution": 32})) == {("export_masks", p) for p in PRODUCTS}
    pipeline.photograph("c", fails_in="segment")
    (pipeline.workspace / "07_model_output/meshes/d.glb").write_bytes(b"damaged")
    status = status_of(pipeline)
    assert ("segment", "c") in stale_in(status) and {product for _, product in stale_in(status)} == {"c", "d"}
    (pipeline.photos / "h.jpg").unlink()
    assert status_of(pipeline).counts == {"complete": 5, "failed": 0, "unfinished": 0, "stale": 2, "gone": 1}
    pipeline.run()
    assert status_of(pipeline).counts["failed"] == 1 and stale_in(status_of(pipeline)) == set()


def test_status_tells_where_it_cannot_know(pipeline: Pipeline) -> None:
    pipeline.run()
    (remark, *_) = status_of(pipeline, priors=str(pipeline.photos)).remarks
    assert "learn_tokens is up to date cannot be told" in remark and "train_priors" in remark
    with pytest.raises(SetupError, match=r"The setting masks\.resolution is 'fine', but should be a valid integer"):
        status_of(pipeline, masks={"resolution": "fine"})
