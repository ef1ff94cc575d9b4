"""The real command from nothing to priors that load, in the two-minute preset; killed and gone on with."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from safetensors.torch import load_file

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets import ProductPartitions, Weights, WeightsFolder
from mpod_pipeline.pipelines.train_priors.nodes import encode_views, measure_novel_view, photograph_products
from mpod_pipeline.pipelines.train_priors.parameters import TrainPriorsParameters
from mpod_pipeline.priors import load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.train_denoisers import MEASURED_TIMESTEPS
from tests.command import ROOT, environment
from tests.priors.tiny import save_tiny_novel_view


def train(workspace: Path, *options: str, settings: str = "") -> subprocess.Popen[bytes]:
    params = f"--params=preset=two_minutes,workspace={workspace}{settings}"
    command = [sys.executable, "-m", "kedro", "run", "--pipeline=train_priors", params, *options]
    return subprocess.Popen(
        command, cwd=ROOT, env=environment(workspace), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )


@pytest.mark.slow
def test_priors_from_nothing_and_from_a_kill(tmp_path: Path) -> None:
    assert train(tmp_path).wait() == 0
    trained = tmp_path / "06_models/trained"
    prior = load_novel_view_prior(str(trained / "novel_view"))  # a folder as text will do
    pictures = prior.sample(torch.rand(3, 128, 128), torch.tensor([90.0]), torch.tensor([10.0]), steps=2)
    assert pictures.shape == (1, 3, 128, 128)
    load_text_to_image_prior(trained / "text_to_image")
    for network in ("text_to_image", "novel_view"):
        errors = json.loads((tmp_path / f"08_reporting/priors/{network}_error_curve.json").read_text())
        assert [timestep for timestep, _ in errors] == list(MEASURED_TIMESTEPS)
        assert all(0 < error < 2 for _, error in errors)  # 1 or so before it learns anything

    curve = tmp_path / "08_reporting/priors/novel_view_curve.json"
    weights = trained / "novel_view/unet/diffusion_pytorch_model.safetensors"
    checkpoint = tmp_path / "06_models/checkpoints/novel_view.pt"
    undisturbed = json.loads(curve.read_text()), load_file(weights)
    for made in (curve, weights, checkpoint):
        made.unlink()
    killed = train(tmp_path, "--nodes=train_novel_view")
    while not checkpoint.exists():
        assert killed.poll() is None, "it ended before its first checkpoint"
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not curve.exists()

    assert train(tmp_path, "--nodes=train_novel_view").wait() == 0
    assert json.loads(curve.read_text()) == undisturbed[0]
    again = load_file(weights)
    assert all(torch.equal(again[name], value) for name, value in undisturbed[1].items())

    # and on from what was made: the small Stable Diffusion with the small Zero-1-to-3's layers
    (tmp_path / "06_models/checkpoints/text_to_image.pt").unlink()
    unet = trained / "text_to_image/unet/diffusion_pytorch_model.safetensors"
    layer = "mid_block.resnets.0.conv1.weight"
    before = load_file(unet)[layer]
    further = f",train_priors.start_from={trained},train_priors.take_novel_view_layers=true"
    settings = f"{further},train_priors.text_to_image.steps=1,train_priors.text_to_image.learning_rate=0.00001"
    assert train(tmp_path, "--nodes=train_text_to_image", settings=settings).wait() == 0
    taken, source = load_file(unet)[layer], again[layer]
    assert (taken.float() - source.float()).abs().max() < 1e-3 < (taken.float() - before.float()).abs().max()


@pytest.mark.parametrize(
    ("settings", "place"),
    [
        ({}, "workspace/06_models/trained"),
        ({"preset": "two_minutes"}, "workspace/06_models/trained"),
        ({"priors": "told"}, "told"),
        ({"preset": "teach", "priors": "told"}, "workspace/06_models/taught"),
    ],
)
def test_the_shipped_priors_are_replaced_only_if_they_are_named(
    settings: dict[str, str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    bootstrap_project(ROOT)
    given = {"workspace": str(tmp_path / "workspace"), **settings}
    if "priors" in settings:
        given["priors"] = str(tmp_path / settings["priors"])
    with KedroSession.create(ROOT, runtime_params=given) as session:
        catalog = session.load_context().catalog
        for prior in ("text_to_image", "novel_view"):
            assert catalog[f"trained_{prior}"].path == tmp_path / place / prior


def test_pictures_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    """As after the two-minute preset in the same workspace."""
    made = ProductPartitions(path=str(tmp_path / "prior_views"), format="npz")

    def photograph(products: int, views: int, size: int = 32) -> list[str]:
        parameters = TrainPriorsParameters.model_validate(
            {
                "checkpoints": tmp_path,
                "views": {"train_products": products, "validation_products": 1, "views": views, "workers": 1},
                "architecture": {"image_size": size},
                **{network: {"steps": 1} for network in ("autoencoder", "depth", "text_to_image", "novel_view")},
            }
        )
        names = []
        for files in photograph_products(parameters, made.load()):
            made.save(files)
            names += files
        return names

    assert photograph(products=1, views=2) == ["train-0000", "validation-0000"]
    assert photograph(products=1, views=2) == []
    for products, views in ((2, 2), (1, 3)):
        with pytest.raises(SetupError, match=r"train-0000 in .* other settings .* another workspace"):
            photograph(products, views)
    with pytest.raises(SetupError, match=r"train-0000 in .* another size"):
        photograph(products=1, views=2, size=64)
    made.save({"train-0000": dict(made.load()["train-0000"]()) | {"family": np.array(["boot"])}})
    with pytest.raises(SetupError, match=r"train-0000 in .* other settings"):
        photograph(products=1, views=2)  # a product's family and seed say what it is


def test_latents_of_another_autoencoder_are_refused(tmp_path: Path) -> None:
    parameters = TrainPriorsParameters.model_validate(
        {
            "checkpoints": tmp_path,
            "views": {"train_products": 1, "validation_products": 1, "views": 2, "workers": 1},
            "architecture": {"image_size": 32},
            **{network: {"steps": 1} for network in ("autoencoder", "depth", "text_to_image", "novel_view")},
        }
    )
    views = ProductPartitions(path=str(tmp_path / "views"), format="npz")
    latents = ProductPartitions(path=str(tmp_path / "latents"), format="npz")
    for files in photograph_products(parameters, views.load()):
        views.save(files)
    priors = [Weights(save_tiny_novel_view(tmp_path / name), "cpu") for name in ("one", "other")]
    changed = AutoencoderKL.from_pretrained(priors[1].path, subfolder="vae")
    with torch.no_grad():
        changed.quant_conv.bias += 0.1
    changed.save_pretrained(priors[1].path / "vae")
    for files in encode_views(views.load(), Weights(priors[0].path / "vae", "cpu"), parameters):
        latents.save(files)
    with pytest.raises(SetupError, match=r"autoencoder.*encode_views"):
        measure_novel_view(latents.load(), priors[1], parameters)
    AutoencoderKL.from_pretrained(priors[0].path, subfolder="vae").half().save_pretrained(priors[0].path / "vae")
    errors = measure_novel_view(latents.load(), priors[0], parameters)  # stored in half, as priors are
    assert len(errors) == len(MEASURED_TIMESTEPS)


def test_weights_take_the_old_ones_place_or_leave_them(tmp_path: Path) -> None:
    weights = WeightsFolder(path=str(tmp_path / "prior"))

    def write(text: str, folder: Path) -> None:
        folder.mkdir()
        (folder / "config.json").write_text(text)
        if text == "broken":
            raise OSError("no space left")

    weights.save(lambda folder: write("one", folder))
    with pytest.raises(Exception, match="no space left"):
        weights.save(lambda folder: write("broken", folder))
    assert (weights.load().path / "config.json").read_text() == "one"
    weights.save(lambda folder: write("two", folder))
    (tmp_path / "prior").rename(tmp_path / ".prior.old")  # a kill in the middle of the exchange
    assert (weights.load().path / "config.json").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir() if not path.name.endswith(".new")] == ["prior"]
