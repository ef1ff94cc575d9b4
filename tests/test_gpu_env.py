"""conf/gpu: only overrides, all of them known, and the paper's own numbers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from kedro.framework.context import KedroContext
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project

from mpod_pipeline.method.outline import OutlineParameters
from mpod_pipeline.rendering.cameras import Cameras

ROOT = Path(__file__).parents[1]
#: Methods whose second stage asks Zero-1-to-3.
ASK_IN_STAGE_2 = ("zero123_sds", "magic123")


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KedroContext]:
    workspace = tmp_path_factory.mktemp("gpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace / 'mlflow.db'}")
        bootstrap_project(ROOT)
        with KedroSession.create(ROOT, env="gpu", runtime_params={"workspace": str(workspace)}) as session:
            yield session.load_context()


def test_the_papers_numbers(gpu: KedroContext) -> None:
    outline, detail = gpu.catalog.load("params:outline"), gpu.catalog.load("params:detail")
    assert (outline.steps, outline.resolutions) == (5000, (128,))
    assert (detail.steps, detail.resolution) == (5000, 1024)
    assert outline.reference_probability == detail.reference_probability == 0.25
    rates = {outline.table_learning_rate, outline.network_learning_rate, detail.sdf_learning_rate}
    assert rates | {detail.table_learning_rate, detail.network_learning_rate} == {1e-3}
    camera = Cameras.at(0.0, 0.0)
    assert float(camera.basis[0].norm()) == pytest.approx(2.5)
    assert detail.prompt == "A high-resolution DSLR image of <e>"


def test_zero123_starts_from_the_nearest_photo_as_it_was_trained_to_and_the_small_one_from_the_front(
    gpu: KedroContext,
) -> None:
    assert gpu.catalog.load("params:outline").sds.asked_about == "nearest"
    assert OutlineParameters().sds.asked_about == "front"
    methods = yaml.safe_load((ROOT / "conf/gpu/parameters_methods.yml").read_text())["methods"]
    asked = [methods["magic123"]["outline"]["sds"], *(methods[name]["detail"]["novel_view"] for name in ASK_IN_STAGE_2)]
    assert {sds["asked_about"] for sds in asked} == {"nearest"}


def test_everything_that_has_a_choice_is_on_the_gpu(gpu: KedroContext) -> None:
    catalog = gpu.catalog
    assert catalog.load("params:outline").backend is catalog.load("params:detail").backend is None
    assert catalog.load("params:segmentation").sam.device == catalog.load("params:evaluation").device == "cuda"
    for prior in ("text_to_image_prior", "novel_view_prior"):
        assert catalog[prior].device == "cuda"
        assert len(catalog[prior].revision) == 40  # a commit, not a branch that moves


@pytest.mark.parametrize(("env", "device"), [("local", "cuda"), ("gpu", "cpu")])
def test_one_setting_moves_everything(env: str, device: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The priors, what scores and trains with them, Segment Anything; and one names the backend of both stages."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    bootstrap_project(ROOT)
    given = {"workspace": str(tmp_path), "device": device, "backend": "torch"}
    with KedroSession.create(ROOT, env=env, runtime_params=given) as session:
        catalog = session.load_context().catalog
        for prior in ("text_to_image_prior", "novel_view_prior"):
            assert catalog[prior].device == device
        assert catalog.load("params:evaluation").device == device
        assert catalog.load("params:train_priors").device == device
        if env == "gpu":
            assert catalog.load("params:segmentation").sam.device == device
        assert catalog.load("params:outline").backend == catalog.load("params:detail").backend == "torch"


def test_what_is_not_overridden_is_the_bases(gpu: KedroContext) -> None:
    assert gpu.catalog.load("params:detail").mask_guidance == "mrca"
    assert gpu.catalog.load("params:segmentation").photo_elevation_deg == "auto"
    assert {path.name for path in (ROOT / "conf/gpu").iterdir()} <= {
        path.name for path in (ROOT / "conf/base").iterdir()
    }
    overridden = yaml.safe_load((ROOT / "conf/gpu/parameters.yml").read_text())
    sections = set(overridden) - {"batch"}
    for section in sections:
        gpu.catalog.load(f"params:{section}")  # its model refuses a name that it does not know
