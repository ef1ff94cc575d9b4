"""Finished priors learn from a folder of models: as the real command, and part by part with tiny ones."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets import Models, ProductPartitions, Weights
from mpod_pipeline.datasets.models import ModelFolder
from mpod_pipeline.method.steps import STEPS, Step
from mpod_pipeline.pipelines import steps
from mpod_pipeline.pipelines.score_priors.nodes import KEPT_ASIDE, score_novel_views
from mpod_pipeline.pipelines.score_priors.parameters import ScorePriorsParameters
from mpod_pipeline.pipelines.train_priors import nodes
from mpod_pipeline.pipelines.train_priors.nodes import (
    encode_views,
    measure_novel_view,
    photograph_products,
    train_autoencoder,
    train_novel_view,
    train_text_to_image,
)
from mpod_pipeline.pipelines.train_priors.parameters import TrainPriorsParameters
from mpod_pipeline.priors import load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.adapters import ADAPTER_FILE
from mpod_pipeline.priors.train_denoisers import MEASURED_TIMESTEPS, ViewLatents
from tests.command import ROOT, environment
from tests.geometry.models import exported, plain
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

TABLE = "file,split\nred_block.glb,train\ngreen_tower.glb,train\nblue_block.glb,validation\nbroken.glb,train\n"


def models_in(folder: Path, table: str = TABLE) -> Path:
    """Two models to learn from, one kept aside and one that is none."""
    folder.mkdir()
    for name, colour, height in (
        ("red_block", [255, 0, 0, 255], 1.0),
        ("green_tower", [0, 255, 0, 255], 2.0),
        ("blue_block", [0, 0, 255, 255], 1.2),
    ):
        (folder / f"{name}.glb").write_bytes(exported(plain(colour), g0=np.diag([1.0, height, 1.0, 1.0])))
    (folder / "broken.glb").write_bytes(b"not a model")
    (folder / "models.csv").write_text(table)
    return folder


def load(folder: Path) -> Models:
    models: Models = ModelFolder(path=str(folder)).load()
    return models


@pytest.mark.slow
def test_shipped_priors_are_taught_and_stay_as_they_are(tmp_path: Path) -> None:
    """The real command, in its two-minute preset."""
    models, shipped = models_in(tmp_path / "models"), ROOT / "data/06_models/priors"
    before = {path: path.stat().st_mtime_ns for path in shipped.rglob("*")}
    params = f"--params=preset=teach_two_minutes,models={models},workspace={tmp_path}"
    command = [sys.executable, "-m", "kedro", "run", "--pipeline=train_priors", params]
    assert subprocess.run(command, cwd=ROOT, env=environment(tmp_path)).returncode == 0
    assert before == {path: path.stat().st_mtime_ns for path in shipped.rglob("*")}
    taught = tmp_path / "06_models/taught"
    for part, load_prior in (("novel_view", load_novel_view_prior), ("text_to_image", load_text_to_image_prior)):
        file = taught / part / ADAPTER_FILE
        assert file.stat().st_size < 2_000_000
        load_prior(shipped / part, adapters=[file])


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("priors")
    save_tiny_text_to_image(folder / "text_to_image")
    save_tiny_novel_view(folder / "novel_view")
    return folder


class Workspace:
    """The nodes one after another, as the pipeline runs them."""

    def __init__(self, folder: Path, priors: Path, models: Path, **settings: Any) -> None:
        self.priors = priors
        self.folder, self.models = folder, load(models)
        training = {"steps": 3, "checkpoint_every": 1, "batch_size": 4, "warmup_steps": 0, "learning_rate": 0.05}
        self.parameters = TrainPriorsParameters.model_validate(
            {
                "checkpoints": folder / "checkpoints",
                "start_from": priors,
                "adapter": {"rank": 2},
                "views": {"train_products": 2, "validation_products": 1, "views": 3, "workers": 1, "shots": 2},
                "architecture": {"image_size": 32},
                "autoencoder": None,
                "text_to_image": training,
                "novel_view": training,
                **settings,
            }
        )
        self.views = ProductPartitions(path=str(folder / "views"), format="npz")
        self.latents = ProductPartitions(path=str(folder / "latents"), format="npz")

    def photograph(self) -> list[str]:
        names = []
        for files in photograph_products(self.parameters, self.views.load(), self.models):
            self.views.save(files)
            names += files
        return names

    def encode(self) -> Weights:
        write, _ = train_autoencoder(self.views.load(), self.parameters, self.models)
        write(self.folder / "vae")
        vae = Weights(self.folder / "vae", "cpu")
        for files in encode_views(self.views.load(), vae, self.parameters, self.models):
            self.latents.save(files)
        return vae

    def teach(self, part: str, vae: Weights) -> Weights:
        taught = self.folder / "taught" / part
        shutil.rmtree(taught, ignore_errors=True)
        if part == "text_to_image":
            write, curve = train_text_to_image(self.latents.load(), vae, self.parameters, self.models)
        else:
            depth = Weights(self.priors / "novel_view/depth", "cpu")
            write, curve = train_novel_view(
                self.latents.load(), vae, Weights(taught, "cpu"), depth, self.parameters, self.models
            )
        assert curve
        write(taught)
        return Weights(taught, "cpu")


@pytest.fixture
def workspace(tmp_path: Path, priors: Path) -> Workspace:
    return Workspace(tmp_path, priors, models_in(tmp_path / "models"))


def test_only_models_that_came_or_changed_are_photographed(
    workspace: Workspace, caplog: pytest.LogCaptureFixture
) -> None:
    first = workspace.photograph()
    assert [name.split("-")[1] for name in first if name.startswith("model-")] == [
        "green_tower",
        "red_block",
        "blue_block",
    ]
    assert "broken is left out. The file is not a GLB" in caplog.text
    assert workspace.views.load()[first[0]]()["pictures"].shape == (2, 3, 32, 32, 4)
    assert workspace.photograph() == []
    red = workspace.folder / "models/red_block.glb"
    red.write_bytes(exported(plain([200, 0, 0, 255])))
    (again,) = workspace.photograph()
    assert again not in first and again.split("-")[1] == "red_block"


class KilledError(Exception):
    pass


def dying(name: str) -> Any:
    """In place of what watches a training: it dies after its second step."""

    def report(step: int, total: int, losses: dict[str, float]) -> None:
        if step == 2:
            raise KilledError

    return report, []


def test_a_training_that_is_killed_ends_like_an_undisturbed_one_and_no_other_goes_on_with_it(
    workspace: Workspace, priors: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.photograph()
    vae = workspace.encode()
    for part in ("text_to_image", "novel_view"):
        taught = workspace.teach(part, vae).path / ADAPTER_FILE
        learnt = load_file(taught)
        assert any(weight.abs().max() > 0 for name, weight in learnt.items() if ".lora_B." in name)
        (workspace.folder / f"checkpoints/{part}.pt").unlink()
        with monkeypatch.context() as patch:
            patch.setattr(nodes, "watched", dying)
            with pytest.raises(KilledError):
                workspace.teach(part, vae)
        again = load_file(workspace.teach(part, vae).path / ADAPTER_FILE)
        assert all(torch.equal(again[name], weight) for name, weight in learnt.items())
    adapter = Weights(taught.parent, "cpu")
    errors = measure_novel_view(workspace.latents.load(), adapter, workspace.parameters, workspace.models)
    assert len(errors) == len(MEASURED_TIMESTEPS)
    (workspace.folder / "models/models.csv").write_text(
        TABLE.replace("blue_block.glb,validation", "blue_block.glb,train")
    )
    changed = Workspace(workspace.folder, priors, workspace.folder / "models")
    changed.photograph()
    vae = changed.encode()
    with pytest.raises(SetupError, match=r"novel_view\.pt is of a training on .* other models"):
        changed.teach("novel_view", vae)


def test_all_weights_learn_by_a_parameter(tmp_path: Path, priors: Path) -> None:
    workspace = Workspace(tmp_path, priors, models_in(tmp_path / "models"), adapter=None)
    workspace.photograph()
    taught = workspace.teach("novel_view", workspace.encode())
    load_novel_view_prior(taught.path)
    weights = [
        load_file(next((folder / part).glob("*.safetensors")))
        for folder in (priors / "novel_view", taught.path)
        for part in ("unet", "vae")
    ]
    assert not all(torch.equal(weights[2][name], weight) for name, weight in weights[0].items())
    assert all(torch.equal(weights[3][name], weight) for name, weight in weights[1].items())


def test_every_batch_has_its_share_of_what_is_known() -> None:
    data = ViewLatents(
        torch.zeros(10, 1, 4, 2, 2),
        torch.zeros(10, 8, 8, 3),
        np.zeros((10, 1), np.float32),
        np.zeros((10, 1), np.float32),
        ["a jar"] * 10,
        1.0,
        models=2,
        known_share=0.25,
    )
    for seed in range(20):
        drawn = data.draw(np.random.default_rng(seed), 16)
        assert (drawn < 8).sum() == 4 and drawn.max() < 10 and len(drawn) == 16
    assert len(data.only_models().photos) == 2


def test_models_kept_aside_are_scored(tmp_path: Path, priors: Path) -> None:
    few = {"objects": 1, "held_out": 1, "compounds": 1, "views": 2, "steps": 1}
    prior = Weights(priors / "novel_view", "cpu")
    models = load(models_in(tmp_path / "models"))
    table, samples = score_novel_views(prior, ScorePriorsParameters.model_validate({"novel_views": few}), models)
    assert table["group"].tolist()[-1] == KEPT_ASIDE and table["products"].tolist()[-1] == 1
    assert "models_kept_aside" in samples
    wrong = load(models_in(tmp_path / "wrong", TABLE.replace("broken.glb,train", "broken.glb,validation")))
    with pytest.raises(SetupError, match="broken, which was kept aside, cannot be scored"):
        score_novel_views(prior, ScorePriorsParameters.model_validate({"novel_views": few}), wrong)


Refusal = tuple[dict[str, Any], str, str]
REFUSALS: list[Refusal] = [
    ({"start_from": None, "adapter": None, "autoencoder": {"steps": 1}, "depth": {"steps": 1}}, TABLE, "preset=teach"),
    ({}, "file,split\nred_block.glb,validation\n", "all are kept aside"),
    ({}, "file,split\nbroken.glb,train\nred_block.glb,validation\n", "none could be photographed"),
]


@pytest.mark.parametrize(("settings", "table", "told"), REFUSALS)
def test_what_cannot_be_learnt_is_told_before_any_work(
    tmp_path: Path, priors: Path, settings: dict[str, Any], table: str, told: str
) -> None:
    workspace = Workspace(tmp_path, priors, models_in(tmp_path / "models", table), **settings)
    with pytest.raises(SetupError, match=told):
        workspace.photograph()
    assert not any(name.startswith("train-") for name in workspace.views.load())


def test_an_adapter_needs_models(tmp_path: Path, priors: Path) -> None:
    workspace = Workspace(tmp_path, priors, models_in(tmp_path / "models"))
    with pytest.raises(SetupError, match="--params=models=FOLDER"):
        list(photograph_products(workspace.parameters, workspace.views.load(), Models()))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"start_from": None}, "need start_from"),
        ({"start_from": None, "adapter": None}, "need start_from"),
        ({"autoencoder": {"steps": 1}}, "set autoencoder to null"),
    ],
)
def test_an_adapter_belongs_to_priors_that_stay(
    tmp_path: Path, priors: Path, changed: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValidationError, match=told):
        Workspace(tmp_path, priors, models_in(tmp_path / "models"), **changed)


def test_a_prior_of_other_noise_is_not_taught(tmp_path: Path, priors: Path) -> None:
    """As the full-size ones, which predict the noise itself."""
    other = shutil.copytree(priors, tmp_path / "priors")
    for config in other.rglob("scheduler_config.json"):
        config.write_text(config.read_text().replace("v_prediction", "epsilon"))
    models = models_in(tmp_path / "models")
    with pytest.raises(SetupError, match="not of the small family"):
        Workspace(tmp_path, other, models).photograph()
    with pytest.raises(SetupError, match=r"no prior at .*absent"):
        Workspace(tmp_path, tmp_path / "absent", models).photograph()


@pytest.mark.parametrize("step", [step for step in STEPS if step.priors], ids=lambda step: step.name)
def test_a_step_loads_its_priors_adapters_and_depends_on_them(
    step: Step, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its fingerprints are of all ``weights``."""
    started: dict[str, Any] = {}

    def run_step(_: Any, open_work: Callable[[], Any], **given: Any) -> Iterator[dict[str, Any]]:
        started.update(given)
        open_work()
        yield {}

    def load(path: Path, **given: Any) -> Any:
        started.update(given, path=path)
        return MagicMock()

    monkeypatch.setattr(steps, "run_step", run_step)
    module = import_module(f"mpod_pipeline.method.steps.{step.name}")
    monkeypatch.setattr(module, f"load_{step.priors[0]}", load)
    weights = Weights(tmp_path, "cpu", adapters=(tmp_path / "jars.safetensors",))
    names = (*step.needs, *step.priors, "product_settings", "batch", "history")
    run = steps.node_function(step, dict.fromkeys(names, ""))
    list(run(**{**dict.fromkeys(names), step.priors[0]: weights, "parameters": step.settings()}))
    assert started["weights"] == [tmp_path, tmp_path / "jars.safetensors"]
    assert started["path"] == tmp_path and started["adapters"] == weights.adapters
