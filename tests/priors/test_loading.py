"""Folders in, priors out; and what is said when a folder is wrong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.priors import load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.saving import save_novel_view_prior, save_text_to_image_prior
from mpod_pipeline.priors.train_denoisers import NovelViewDenoiser, TextDenoiser
from tests.priors.tiny import TINY


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="train_priors"):
        load_novel_view_prior(tmp_path / "nothing")


def test_a_missing_part_is_named(novel_view_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(novel_view_folder, tmp_path / "prior")
    shutil.rmtree(folder / "clip_camera_projection")
    with pytest.raises(SetupError, match="lacks clip_camera_projection"):
        load_novel_view_prior(folder)


def test_missing_weights_are_an_error_not_random_weights(novel_view_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(novel_view_folder, tmp_path / "prior")
    next((folder / "unet").glob("*.safetensors")).unlink()
    with pytest.raises(SetupError, match="unet"):
        load_novel_view_prior(folder)


def test_a_text_prior_is_no_novel_view_prior(
    novel_view_folder: Path, text_to_image_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(novel_view_folder, tmp_path / "prior")
    shutil.rmtree(folder / "unet")
    shutil.copytree(text_to_image_folder / "unet", folder / "unet")
    with pytest.raises(SetupError, match="4 channels"):
        load_novel_view_prior(folder)


def test_diffusers_own_pipeline_reads_our_folder(text_to_image_folder: Path) -> None:
    pipe = StableDiffusionPipeline.from_pretrained(text_to_image_folder)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a photo of a red mug", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 32, 32, 3)


def test_a_learned_token_stands_for_the_placeholder(text_to_image_folder: Path) -> None:
    prior = load_text_to_image_prior(text_to_image_folder, precision="float32")
    token = torch.randn(prior.token_dim, requires_grad=True)
    prompt = prior.encode_prompt("a photo of <e>", token)
    assert prompt.context.shape == (1, 16, 32)
    assert prompt.token_columns.nonzero()[:, 0].tolist() == [4]  # start, a, photo, of, <e>
    assert prompt.after_columns.nonzero()[:, 0].tolist() == list(range(5, 16))
    prompt.context.square().sum().backward()
    assert token.grad is not None and token.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in prior.parameters())


def test_a_prompt_without_placeholder_is_what_the_text_encoder_says(text_to_image_folder: Path) -> None:
    prior = load_text_to_image_prior(text_to_image_folder, precision="float32")
    ids = prior.tokenizer("a picture of a lamp", padding="max_length", max_length=16, return_tensors="pt")["input_ids"]
    expected = prior.text_encoder(input_ids=ids).last_hidden_state
    torch.testing.assert_close(prior.encode_prompt("a picture of a lamp").context, expected)


def test_configs_are_read_from_the_folder(novel_view_folder: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(novel_view_folder, tmp_path / "prior")
    config = folder / "scheduler" / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"prediction_type": "epsilon"}))
    assert load_novel_view_prior(folder).schedule.prediction_type == "epsilon"


def test_slicing_is_the_loaders_to_switch(novel_view_folder: Path, text_to_image_folder: Path) -> None:
    for load, folder in ((load_novel_view_prior, novel_view_folder), (load_text_to_image_prior, text_to_image_folder)):
        assert not load(folder).vae.use_slicing
        assert load(folder, vae_slicing=True).vae.use_slicing


def test_a_prior_saved_again_does_not_name_the_folder_it_came_from(
    novel_view_folder: Path, text_to_image_folder: Path, tmp_path: Path
) -> None:
    """What `train_priors.start_from` reads may lie in anybody's home."""
    vae = AutoencoderKL.from_pretrained(novel_view_folder, subfolder="vae")
    save_novel_view_prior(tmp_path / "views", vae, NovelViewDenoiser.of_folder(novel_view_folder), TINY)
    tokenizer = CLIPTokenizer.from_pretrained(text_to_image_folder, subfolder="tokenizer")
    save_text_to_image_prior(tmp_path / "texts", vae, tokenizer, TextDenoiser.of_folder(text_to_image_folder))
    configs = list(tmp_path.rglob("*.json"))
    assert len(configs) > 10
    for config in configs:
        for folder in (novel_view_folder, text_to_image_folder):
            assert str(folder) not in config.read_text(), config
