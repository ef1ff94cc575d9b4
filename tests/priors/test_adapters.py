"""What a U-Net learns beside its weights: in files that diffusers reads, fused where it is used, refused where it does
not belong.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.priors import load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.adapters import ADAPTER_FILE, AdapterParameters, add_adapter, fuse_adapter, save_adapter
from mpod_pipeline.priors.architecture import POSE_DIM
from tests.priors import layouts


def learnt(folder: Path, part: str = "text_to_image") -> tuple[UNet2DConditionModel, Path]:
    """A prior's U-Net with an adapter that has learnt something, and its file."""
    unet = UNet2DConditionModel.from_pretrained(folder / part, subfolder="unet")
    add_adapter(unet, AdapterParameters(rank=2), seed=0)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for q in unet.parameters():
            if q.requires_grad:
                q.copy_((torch.randn(q.shape, generator=generator) * 0.1).half())
    save_adapter(folder / f"{part}_adapter", unet.to(memory_format=torch.channels_last))
    return unet, folder / f"{part}_adapter" / ADAPTER_FILE


@pytest.fixture(scope="module")
def priors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

    folder = tmp_path_factory.mktemp("adapted")
    save_tiny_text_to_image(folder / "text_to_image")
    save_tiny_novel_view(folder / "novel_view")
    return folder


def answer(unet: UNet2DConditionModel) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    config = unet.config
    noisy = torch.randn(2, config.in_channels, 8, 8, generator=generator)
    context = torch.randn(2, 5, config.cross_attention_dim, generator=generator)
    pose = None if unet.class_embedding is None else torch.randn(2, POSE_DIM, generator=generator)
    with torch.no_grad():
        said: Tensor = unet(noisy, 500, encoder_hidden_states=context, class_labels=pose).sample
    return said


def test_an_adapter_begins_with_nothing_and_learns_alone(priors: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(priors / "text_to_image", subfolder="unet")
    before = answer(unet)
    add_adapter(unet, AdapterParameters(rank=2), seed=0)
    assert torch.equal(answer(unet), before)
    learning = {name for name, q in unet.named_parameters() if q.requires_grad}
    assert learning and all(".lora_" in name for name in learning)


@pytest.mark.parametrize(
    ("part", "load"), [("text_to_image", load_text_to_image_prior), ("novel_view", load_novel_view_prior)]
)
def test_a_prior_answers_with_what_its_adapter_learnt(
    priors: Path, part: str, load: Callable[..., torch.nn.Module]
) -> None:
    unet, file = learnt(priors, part)
    plain, fused = (load(priors / part, precision="float32", adapters=some).unet for some in ([], [file]))
    torch.testing.assert_close(answer(fused), answer(unet), atol=2e-5, rtol=1e-3)
    assert (answer(plain) - answer(fused)).abs().max() > 0.01
    assert {name for name, _ in fused.named_parameters()} == {name for name, _ in plain.named_parameters()}
    half = load(priors / part, precision="bfloat16", adapters=[file]).unet
    assert all(torch.equal(a.bfloat16(), b) for a, b in zip(fused.parameters(), half.parameters(), strict=True))


def test_an_adapter_of_less_strength_changes_the_weights_by_that_share(priors: Path, tmp_path: Path) -> None:
    learning, _ = learnt(priors)
    save_adapter(tmp_path, learning, strength=0.5)
    plain, whole, half = (
        UNet2DConditionModel.from_pretrained(priors / "text_to_image", subfolder="unet") for _ in "123"
    )
    fuse_adapter(whole, priors / "text_to_image_adapter" / ADAPTER_FILE)
    fuse_adapter(half, tmp_path / ADAPTER_FILE)
    for before, all_of_it, half_of_it in zip(plain.parameters(), whole.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(half_of_it - before, (all_of_it - before) / 2, atol=1e-4, rtol=1e-2)


def test_diffusers_own_pipeline_takes_the_same_file(priors: Path) -> None:
    _, file = learnt(priors)
    pipeline = StableDiffusionPipeline.from_pretrained(priors / "text_to_image", safety_checker=None)
    pipeline.load_lora_weights(file.parent)
    ours = load_text_to_image_prior(priors / "text_to_image", precision="float32", adapters=[file]).unet
    torch.testing.assert_close(answer(pipeline.unet), answer(ours), atol=2e-5, rtol=1e-3)


def test_full_size_layouts_take_adapters_of_their_attention(tmp_path: Path) -> None:
    """As diffusers' and kohya's training scripts make them: the second with a scale of its own."""
    unet = layouts.make_unet(layouts.SD15_UNET)
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
    weight = unet.get_submodule(name).weight
    down, up = torch.randn(4, 768), torch.randn(32, 4)
    before = weight.detach().clone()
    save_file({f"unet.{name}.lora_A.weight": down, f"unet.{name}.lora_B.weight": up}, tmp_path / "a.safetensors")
    fuse_adapter(unet, tmp_path / "a.safetensors")
    torch.testing.assert_close(unet.get_submodule(name).weight, before + up @ down, atol=1e-4, rtol=1e-4)

    kohya = "lora_unet_" + name.replace(".", "_")
    layers = {f"{kohya}.lora_down.weight": down, f"{kohya}.lora_up.weight": up, f"{kohya}.alpha": torch.tensor(2.0)}
    save_file(layers, tmp_path / "b.safetensors")
    other = layouts.make_unet(layouts.SD15_UNET)
    other.load_state_dict(unet.state_dict())
    fuse_adapter(other, tmp_path / "b.safetensors")
    torch.testing.assert_close(other.get_submodule(name).weight, before + 1.5 * up @ down, atol=1e-4, rtol=1e-4)


def test_adapters_that_do_not_belong_are_refused(priors: Path, tmp_path: Path) -> None:
    _, file = learnt(priors)

    def load(path: Path) -> None:
        load_novel_view_prior(priors / "novel_view", adapters=[path])

    with pytest.raises(SetupError, match=r"no adapter at .*absent"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(SetupError, match="cannot be loaded into this U-Net"):
        load(file)  # the text prior's, whose first layer has other channels
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:1000])
    with pytest.raises(SetupError, match="cannot be loaded"):
        load(tmp_path / "cut.safetensors")
    layers = load_file(file)
    for name, told in (("unet.no.such.layer", "another network"), ("text_encoder.layer", "text_encoder")):
        more = {f"{name}.lora_A.weight": torch.ones(2, 8), f"{name}.lora_B.weight": torch.ones(8, 2)}
        save_file({**layers, **more}, tmp_path / "more.safetensors")
        with pytest.raises(SetupError, match=told):
            load_text_to_image_prior(priors / "text_to_image", adapters=[tmp_path / "more.safetensors"])
    spoilt = {name: torch.full_like(layer, torch.nan) for name, layer in layers.items()}
    save_file(spoilt, tmp_path / "spoilt.safetensors")
    with pytest.raises(SetupError, match="cannot be loaded"):
        load_text_to_image_prior(priors / "text_to_image", adapters=[tmp_path / "spoilt.safetensors"])
