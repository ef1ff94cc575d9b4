"""The real layouts, in miniature, through our loaders: what is read from a folder, and what is refused."""

from __future__ import annotations

import shutil
from math import radians
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets.codecs import Token
from mpod_pipeline.priors import load_novel_view_prior, load_text_to_image_prior
from tests.priors.layouts import Trap, save_stable_diffusion_15, save_stable_diffusion_21, save_zero123


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_stable_diffusion_15(tmp_path_factory.mktemp("sd15") / "text_to_image")


@pytest.fixture(scope="module")
def sd21(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_stable_diffusion_21(tmp_path_factory.mktemp("sd21") / "text_to_image")


@pytest.fixture(scope="module")
def zero123(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_zero123(tmp_path_factory.mktemp("zero123") / "novel_view")


def test_stable_diffusion_15_is_read_from_its_folder(sd15: Path) -> None:
    prior = load_text_to_image_prior(sd15, precision="float32")
    assert (prior.image_size, prior.token_dim, prior.schedule.prediction_type) == (64, 768, "epsilon")
    prompt = prior.encode_prompt("a photo of <e>", torch.randn(768))
    assert prompt.context.shape == (1, 77, 768)
    assert prompt.token_columns.nonzero().flatten().tolist() == [4]
    assert {p.dtype for p in prior.text_encoder.parameters()} == {torch.float32}  # tokens are learnt through it


def test_stable_diffusion_21_predicts_v_and_pads_with_its_own_token(sd21: Path) -> None:
    prior = load_text_to_image_prior(sd21, precision="float32")
    assert (prior.token_dim, prior.schedule.prediction_type) == (1024, "v_prediction")
    ids, _ = prior._ids("a mug")
    expected = prior.tokenizer("a mug", padding="max_length", max_length=77, return_tensors="pt")["input_ids"]
    assert ids.tolist() == expected[0].tolist()
    assert ids[-1] == 0 != prior.tokenizer.eos_token_id


@pytest.mark.parametrize("version", ["sd15", "sd21"])
def test_the_prediction_is_what_diffusers_own_pipeline_makes(version: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(version)
    prior = load_text_to_image_prior(folder, precision="float32")
    pipe = StableDiffusionPipeline.from_pretrained(folder, safety_checker=None, torch_dtype=torch.float32)
    wanted, nothing = pipe.encode_prompt("a photo of a lamp", "cpu", 1, True)
    noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        without, conditional = (
            pipe.unet(noisy, 500, encoder_hidden_states=context).sample for context in (nothing, wanted)
        )
        ours = prior.predict(
            noisy, torch.tensor([500]), [prior.encode_prompt("a photo of a lamp")], prior.encode_prompt(""), 2.0
        )
    torch.testing.assert_close(ours, without + 2.0 * (conditional - without), atol=1e-4, rtol=1e-4)


def test_pickles_are_read_as_plain_weights(tmp_path: Path, sd15: Path) -> None:
    pickled = load_text_to_image_prior(
        save_stable_diffusion_15(tmp_path / "prior", safetensors=False), precision="float32"
    )
    safe = load_text_to_image_prior(sd15, precision="float32")
    for name, value in safe.state_dict().items():
        assert torch.equal(pickled.state_dict()[name], value), name


@pytest.mark.parametrize("part", ["unet/diffusion_pytorch_model.bin", "text_encoder/pytorch_model.bin"])
def test_a_pickle_that_brings_code_is_refused_and_not_run(part: str, tmp_path: Path) -> None:
    folder = save_stable_diffusion_15(tmp_path / "prior", safetensors=False)
    torch.save({"trap": Trap(tmp_path / "victim")}, folder / part)
    with pytest.raises(SetupError, match=part.split("/")[0]):
        load_text_to_image_prior(folder)
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder"])
def test_a_file_that_lacks_a_tensor_is_refused_not_filled_at_random(part: str, sd15: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd15, tmp_path / "prior")
    (file,) = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    gone = sorted(tensors)[-1]
    del tensors[gone]
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(SetupError, match=part):
        load_text_to_image_prior(folder)


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_tensor_of_another_shape_is_refused(part: str, sd15: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd15, tmp_path / "prior")
    (file,) = (folder / part).glob("*.safetensors")
    tensors = load_file(file)
    name = max(tensors)
    tensors[name] = tensors[name].new_zeros(3)
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(SetupError, match=part):
        load_text_to_image_prior(folder)


def test_a_download_that_broke_off_is_refused(sd15: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd15, tmp_path / "prior")
    (file,) = (folder / "unet").glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(SetupError, match="unet"):
        load_text_to_image_prior(folder)


def test_a_unet_of_another_family_is_refused(sd15: Path, sd21: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(sd15, tmp_path / "prior")
    shutil.rmtree(folder / "unet")
    shutil.copytree(sd21 / "unet", folder / "unet")
    with pytest.raises(SetupError, match=r"1024.*768"):
        load_text_to_image_prior(folder)


def test_zero123_is_read_from_its_folder(zero123: Path) -> None:
    prior = load_novel_view_prior(zero123, precision="float32")
    assert prior.unet.config.in_channels == 8
    assert (prior.image_size, prior.camera_projection.num_tokens) == (64, 1)
    assert not prior.absolute_elevation
    condition = prior.encode_photo(torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0)), 10.0)
    assert condition.tokens.shape == (1, 1, 768)
    pose = prior.pose(condition, torch.tensor([90.0]), torch.tensor([30.0]))
    torch.testing.assert_close(pose, torch.tensor([[-radians(20), 1.0, 0.0, 0.0]]), atol=1e-6, rtol=0)
    assert prior.context(condition, pose).shape == (1, 1, 768)


def test_stable_zero123_has_the_same_files_and_another_pose(zero123: Path) -> None:
    prior = load_novel_view_prior(zero123, precision="float32", absolute_elevation=True)
    condition = prior.encode_photo(torch.rand(3, 64, 64), 10.0)
    pose = prior.pose(condition, torch.tensor([90.0]), torch.tensor([30.0]))
    torch.testing.assert_close(pose, torch.tensor([[-radians(20), 1.0, 0.0, radians(80)]]), atol=1e-6, rtol=0)


def test_the_image_encoder_sees_what_its_own_processor_makes(zero123: Path) -> None:
    """CLIP's size, mean and deviation, unnormalised; resized bicubically. Pillow rounds to bytes, so not to the bit."""
    from PIL import Image
    from transformers import CLIPImageProcessor

    prior = load_novel_view_prior(zero123, precision="float32")
    y, x = torch.meshgrid(torch.linspace(0, 1, 256), torch.linspace(0, 1, 256), indexing="ij")
    picture = (torch.stack([x, y, 0.5 + 0.5 * torch.sin(9 * x * y)]) * 255).round().byte()
    processor = CLIPImageProcessor.from_pretrained(zero123 / "feature_extractor")
    theirs = processor(Image.fromarray(picture.permute(1, 2, 0).numpy()), return_tensors="pt")["pixel_values"]
    ours = prior.clip_input(picture[None] / 255)
    assert ours.shape == theirs.shape == (1, 3, 224, 224)
    assert (ours - theirs).abs().max() < 0.04  # two levels of 255, over a deviation of 0.26
    assert (ours - theirs).abs().mean() < 0.005


def test_a_learned_embeds_file_of_stable_diffusion_is_a_token(sd15: Path, tmp_path: Path) -> None:
    prior = load_text_to_image_prior(sd15, precision="float32")
    word = prior.word_embedding("a")
    assert word.shape == (768,)
    torch.save({"_token_": word}, tmp_path / "learned_embeds.bin")
    token = Token().read(tmp_path / "learned_embeds.bin")
    # standing for the word that it was copied from, the token changes nothing but the id, which nothing looks at
    torch.testing.assert_close(
        prior.encode_prompt("a photo of <e> mug", token).context, prior.encode_prompt("a photo of a mug").context
    )


def test_a_token_of_another_width_is_refused(sd15: Path) -> None:
    prior = load_text_to_image_prior(sd15, precision="float32")
    with pytest.raises(SetupError, match=r"1024.*768"):
        prior.encode_prompt("a photo of <e>", torch.zeros(1024))


def test_a_tokens_gradient_survives_a_unet_in_float16(sd15: Path) -> None:
    """A mean over all latents, weighted as small as this, is lost on its way through a plain float16 network."""
    gradients = []
    for precision in ("float32", "float16"):
        prior = load_text_to_image_prior(sd15, precision=precision)  # type: ignore[arg-type]
        token = prior.word_embedding("mug").requires_grad_(True)
        noisy = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
        context = prior.encode_prompt("a photo of <e>", token).context
        prediction = prior.predict_unguided(noisy, torch.tensor([500]), context)
        (prediction.square().mean() * 1e-6).backward()
        assert token.grad is not None
        gradients.append(token.grad)
    assert (gradients[0] - gradients[1]).norm() < 0.05 * gradients[0].norm()
