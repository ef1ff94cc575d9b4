import json
import time
from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_sample_image
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.metrics.encoders import (
    EfficientNetLite0,
    OpenClipParameters,
    load_efficientnet_lite0,
    load_open_clip,
    load_vgg19,
    normalize_images,
    resize_images,
    score_name,
)


@pytest.fixture(scope="module")
def lite0() -> EfficientNetLite0:
    return load_efficientnet_lite0()


def real_photo(name: str) -> Tensor:
    """One of the two photos that scikit-learn carries, [1, 3, 427, 640]."""
    return torch.from_numpy(load_sample_image(name).copy()).permute(2, 0, 1)[None] / 255


def test_resizing_keeps_constants_and_range() -> None:
    images = (torch.arange(32 * 32).reshape(1, 1, 32, 32) % 2).float().expand(1, 3, 32, 32)
    assert resize_images(torch.full((1, 3, 32, 32), 0.3), 8).sub(0.3).abs().max() < 1e-6  # float32
    resized = resize_images(images, 64)
    assert resized.amin() >= 0 and resized.amax() <= 1


def test_normalizing_is_per_channel() -> None:
    images = torch.tensor([0.5, 0.2, 0.9])[None, :, None, None]
    normal = normalize_images(images, (0.5, 0.1, 0.4), (1.0, 0.5, 0.25))
    torch.testing.assert_close(normal.flatten(), torch.tensor([0.0, 0.2, 2.0]))


def test_lite0_has_real_weights(lite0: EfficientNetLite0) -> None:
    # ImageNet's class 985 is the daisy, 698 the palace; the photos show a dahlia and the Summer Palace.
    flower = lite0.class_logits(real_photo("flower.jpg"))[0]
    palace = lite0.class_logits(real_photo("china.jpg"))[0]
    assert 698 in palace.topk(5).indices
    assert 985 in flower.topk(5).indices


def test_lite0_agrees_with_timms_own_forward_pass(lite0: EfficientNetLite0) -> None:
    images = torch.cat([real_photo("flower.jpg"), real_photo("china.jpg")])
    assert lite0.embed(images).shape == (2, 1280)
    assert lite0.features(images).shape == (2, 112, 14, 14)
    assert [tuple(one.shape[1:]) for one in lite0.layers(images)] == [(16, 112, 112), (24, 56, 56), (40, 28, 28)]
    expected = lite0.network(resize_images(images, 224) * 2 - 1)
    torch.testing.assert_close(lite0.class_logits(images), expected)
    assert not any(parameter.requires_grad for parameter in lite0.parameters())


def test_lite0_tells_contents_apart(lite0: EfficientNetLite0) -> None:
    flower, palace = real_photo("flower.jpg"), real_photo("china.jpg")
    embeddings = lite0.embed(torch.cat([flower, flower.flip(-1), palace]))
    cosines = torch.nn.functional.cosine_similarity(embeddings[:1], embeddings)
    assert cosines[1] > cosines[2] + 0.3


def test_scores_are_named_after_their_encoder(lite0: EfficientNetLite0) -> None:
    assert score_name("similarity", lite0) == "similarity_efficientnet_lite0"
    assert score_name("cx", lite0) == "cx_efficientnet_lite0"


def test_open_clip_reads_named_weights(tmp_path: Path) -> None:
    import open_clip

    config = {
        "embed_dim": 16,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 8, "vocab_size": 64, "width": 64, "heads": 1, "layers": 1},
    }
    (tmp_path / "tiny-test.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "tiny-test.json")
    torch.manual_seed(0)
    made = open_clip.create_model("tiny-test").eval()
    torch.save(made.state_dict(), tmp_path / "weights.pt")

    weights = OpenClipParameters(model="tiny-test", pretrained=str(tmp_path / "weights.pt"))
    encoder = load_open_clip(weights)
    assert score_name("similarity", encoder) == "similarity_openclip_tiny-test_weights"
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]  # CLIP's own
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    with torch.no_grad():
        expected = made.encode_image((images - mean) / std)
    torch.testing.assert_close(encoder.embed(images), expected)


@pytest.mark.parametrize("model, pretrained", [("ViT-B-32", "nowhere.pt"), ("ViT-B-99", "openai")])
def test_open_clip_without_weights_is_a_setup_error(model: str, pretrained: str) -> None:
    with pytest.raises(SetupError, match=f"{model}|{pretrained}"):
        load_open_clip(OpenClipParameters(model=model, pretrained=pretrained))


def test_vgg19_reads_torchvisions_file(tmp_path: Path) -> None:
    from torchvision.models.vgg import cfgs, make_layers

    torch.manual_seed(0)
    made = make_layers(cfgs["E"]).eval()
    state = {f"features.{name}": value for name, value in made.state_dict().items()}
    torch.save({**state, "classifier.0.bias": torch.zeros(1)}, tmp_path / "vgg19.pth")
    encoder = load_vgg19(tmp_path / "vgg19.pth")
    images = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    features = encoder.features(images)
    assert features.shape == (1, 512, 14, 14)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        pooled = made((images - mean[:, None, None]) / std[:, None, None])
    torch.testing.assert_close(torch.nn.functional.max_pool2d(features, 2), pooled)
    assert features.amin() >= 0  # after the rectifier
    maps = encoder.layers(images)
    assert [tuple(one.shape[1:]) for one in maps] == [
        (64, 224, 224),
        (128, 112, 112),
        (256, 56, 56),
        (512, 28, 28),
        (512, 14, 14),
    ]
    assert all(one.amin() >= 0 for one in maps)


def test_vgg19_without_its_file_is_a_setup_error(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="missing"):
        load_vgg19(tmp_path / "vgg19.pth")
    torch.save({"features.0.bias": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(SetupError, match="VGG19"):
        load_vgg19(tmp_path / "other.pth")


def test_a_hub_that_cannot_be_reached_costs_a_moment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    started = time.monotonic()
    with pytest.raises(SetupError, match=r"'openai' of RN50 cannot be loaded"):
        load_open_clip(OpenClipParameters(model="RN50", pretrained="openai"))
    assert time.monotonic() - started < 15
