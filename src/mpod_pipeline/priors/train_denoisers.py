"""The small Stable Diffusion and the small Zero-1-to-3: two denoisers over the same latents."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from mpod_pipeline.base.report import Report
from mpod_pipeline.priors.architecture import (
    POSE_DIM,
    ArchitectureParameters,
    make_camera_projection,
    make_image_encoder,
    make_scheduler,
    make_text_encoder,
    make_unet,
)
from mpod_pipeline.priors.attention import Float32Attention
from mpod_pipeline.priors.camera_projection import CLIPCameraProjection
from mpod_pipeline.priors.loading import load_network
from mpod_pipeline.priors.networks import device_of
from mpod_pipeline.priors.novel_view import image_tokens, pose_labels, relative_pose
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.priors.text_to_image import view_words
from mpod_pipeline.priors.train_autoencoder import to_network
from mpod_pipeline.priors.training import TrainingParameters, fit, mixed_precision, step_generator

#: How captions are put into sentences; the method's own prompt is among them.
TEMPLATES = (
    "a {}",
    "a photo of a {}",
    "a picture of a {}",
    "a rendering of a {}",
    "a product photo of a {}",
    "a good photo of a {}",
    "a close-up photo of a {}",
    "A high-resolution DSLR image of a {}",
    "A high-resolution DSLR image of a {}",
)

#: Where a denoiser's errors are measured, from nothing but noise to little of it.
MEASURED_TIMESTEPS = (999, 900, 700, 400, 150)
#: Views of each product that they are measured on, and how many of all go through the network at once.
MEASURED_VIEWS, MEASURED_BATCH = 2, 48


class DenoiserTraining(TrainingParameters):
    """One denoiser's training."""

    condition_dropout: float = Field(0.1, ge=0, lt=1)
    high_noise_share: float = Field(0.5, ge=0, le=1, description="timesteps drawn from the noisier half only")
    targets_per_photo: PositiveInt = 2


@dataclass(frozen=True)
class ViewLatents:
    """All pictures of N products as the denoisers see them; view 0 is the photo.

    checksum: of the autoencoder whose latents they are, and of the models among the products. models: so many of the
    products, the last, are photographs of models; of each batch, ``known_share`` are of the others.
    """

    latents: Tensor  # [N, V, 4, h, w] float16, unscaled modes
    photos: Tensor  # [N, H, W, 3] uint8, on white
    azimuth_deg: NDArray[np.float32]  # [N, V]
    elevation_deg: NDArray[np.float32]  # [N, V]
    captions: Sequence[str]
    scaling_factor: float
    checksum: int = 0
    models: int = 0
    known_share: float = 0.5

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Products [count] of a batch."""
        products = len(self.photos)
        if not self.models:
            return rng.integers(0, products, count)
        known = round(count * self.known_share)
        others = products - self.models
        return np.concatenate([rng.integers(0, others, known), rng.integers(others, products, count - known)])

    def only_models(self) -> ViewLatents:
        by_product = ("latents", "photos", "azimuth_deg", "elevation_deg", "captions")
        return replace(self, **{name: getattr(self, name)[-self.models :] for name in by_product})

    def to(self, device: torch.device) -> ViewLatents:
        """The same where the networks are: a step then waits for no copying."""
        return replace(self, latents=self.latents.to(device), photos=self.photos.to(device))

    def modes(self, product: NDArray[np.int64], view: NDArray[np.int64] | int) -> Tensor:
        """Latents [B, 4, h, w], unscaled, of views of products [B]."""
        return self.latents[torch.from_numpy(product), torch.as_tensor(view)].float()

    def scaled(self, product: NDArray[np.int64], view: NDArray[np.int64]) -> Tensor:
        return self.modes(product, view) * self.scaling_factor

    def sentence(self, product: int, view: int, rng: np.random.Generator) -> str:
        """A view of a product in words."""
        directions = self.azimuth_deg[product, view], self.elevation_deg[product, view]
        return sentence(self.captions[product], *directions, rng)


def sentence(caption: str, azimuth_deg: float, elevation_deg: float, rng: np.random.Generator) -> str:
    text = str(rng.choice(TEMPLATES)).format(caption)
    return f"{text}, {view_words(azimuth_deg, elevation_deg)}" if rng.random() < 0.4 else text


def draw_timesteps(count: int, high_noise_share: float, rng: np.random.Generator) -> Tensor:
    """Timesteps [count]: a share from the noisier part, where structure is decided; the rest from everywhere."""
    low = np.where(rng.random(count) < high_noise_share, 450, 0)
    return torch.from_numpy((low + rng.random(count) * (1000 - low)).astype(np.int64))


@dataclass(frozen=True)
class Condition:
    """What a U-Net is told beside noisy latents."""

    context: Tensor  # [B, tokens, D], what it attends to
    latents: Tensor | None = None  # [B, 4, h, w] of the photo
    pose: Tensor | None = None  # [B, 4]

    def kept(self, keep: Tensor) -> Condition:
        """With zeros where ``keep`` [B] is 0: what classifier-free guidance's other half is told."""

        def zeroed(x: Tensor) -> Tensor:
            return x * keep.view(-1, *[1] * (x.ndim - 1))

        latents, pose = (None if each is None else zeroed(each) for each in (self.latents, self.pose))
        return Condition(zeroed(self.context), latents, pose)


def denoising_loss(
    unet: nn.Module, condition: Condition, clean: Tensor, timesteps: Tensor, noise: Tensor, schedule: NoiseSchedule
) -> Tensor:
    """Plain mean squared error on the prediction: its implied weights keep high noise worth learning."""
    noisy = schedule.add_noise(clean, noise, timesteps)
    x = noisy if condition.latents is None else torch.cat([noisy, condition.latents], dim=1)
    x = x.contiguous(memory_format=torch.channels_last)
    with mixed_precision(clean.device):
        prediction = unet(x, timesteps, encoder_hidden_states=condition.context, class_labels=condition.pose).sample
    return (prediction.float() - schedule.target(clean, noise, timesteps)).square().mean()


@torch.no_grad()
def denoising_errors(
    unet: nn.Module,
    data: ViewLatents,
    condition_of: Callable[[NDArray[np.int64], NDArray[np.int64]], Condition],
    seed: int = 0,
) -> Iterator[tuple[int, float]]:
    """(timestep, mean squared error of the prediction) of a denoiser, on some views of each product other than the
    photo.

    Views and noise are the same at each timestep and for each denoiser. ``condition_of(products, views)`` gives what
    the denoiser is told of them.
    """
    schedule = NoiseSchedule.of(make_scheduler())
    device = device_of(unet)
    data = data.to(device)
    rng, generator = step_generator(seed, 0)
    products, views = data.azimuth_deg.shape
    product = np.repeat(np.arange(products), MEASURED_VIEWS)
    view = rng.integers(1, views, len(product))
    noise = torch.randn(len(product), *data.latents.shape[2:], generator=generator)
    for timestep in MEASURED_TIMESTEPS:
        total = 0.0
        for start in range(0, len(product), MEASURED_BATCH):
            some = slice(start, start + MEASURED_BATCH)
            clean = data.scaled(product[some], view[some])
            timesteps = torch.full((len(clean),), timestep, device=device)
            condition = condition_of(product[some], view[some])
            error = denoising_loss(unet, condition, clean, timesteps, noise[some].to(device), schedule)
            total += float(error) * len(clean)
        yield timestep, total / len(product)


class TextDenoiser(nn.Module):
    """What of the small Stable Diffusion learns."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet, self.text_encoder = unet, text_encoder

    @classmethod
    def new(cls, architecture: ArchitectureParameters, tokenizer: CLIPTokenizer, seed: int) -> TextDenoiser:
        torch.manual_seed(seed)
        ends = tokenizer.bos_token_id, tokenizer.eos_token_id
        unet = make_unet(architecture, architecture.latent_channels)
        return cls(unet, make_text_encoder(architecture, len(tokenizer), *ends))

    @classmethod
    def of_folder(cls, folder: Path) -> TextDenoiser:
        unet = load_network(UNet2DConditionModel, folder, "unet", torch.float32)
        return cls(unet, load_network(CLIPTextModel, folder, "text_encoder", torch.float32))

    def take_layers(self, unet: UNet2DConditionModel) -> None:
        """The layers of a small Zero-1-to-3's U-Net, which has seen more, in place of its own: all but the attention to
        what each of the two is told, and the inputs for the photo's latents and the pose.
        """
        own = self.unet.state_dict()
        taken = {name: weight for name, weight in unet.state_dict().items() if name in own and ".attn2." not in name}
        taken["conv_in.weight"] = taken["conv_in.weight"][:, : own["conv_in.weight"].shape[1]]
        if unet.class_embedding is not None:  # as it embeds no pose at all, when its conditions are dropped
            with torch.no_grad():
                no_pose = unet.class_embedding(torch.zeros(1, POSE_DIM))[0]
            taken["time_embedding.linear_2.bias"] = taken["time_embedding.linear_2.bias"] + no_pose
        self.unet.load_state_dict(own | taken)

    def context(self, texts: Sequence[str], tokenizer: CLIPTokenizer) -> Tensor:
        """What the U-Net attends to, [B, tokens, D]."""
        padded = {"padding": "max_length", "truncation": True, "max_length": tokenizer.model_max_length}
        ids = tokenizer(list(texts), **padded, return_tensors="pt")["input_ids"].to(device_of(self))
        with mixed_precision(ids.device):
            hidden: Tensor = self.text_encoder(input_ids=ids).last_hidden_state
        return hidden


def text_to_image_errors(network: TextDenoiser, data: ViewLatents, tokenizer: CLIPTokenizer) -> list[tuple[int, float]]:
    """The small Stable Diffusion's errors (see `denoising_errors`), each view under its caption."""
    rng, _ = step_generator(0, 0)

    def condition_of(product: NDArray[np.int64], view: NDArray[np.int64]) -> Condition:
        texts = [data.sentence(i, v, rng) for i, v in zip(product, view, strict=True)]
        return Condition(network.context(texts, tokenizer))

    return list(denoising_errors(network.unet, data, condition_of))


def fast_to_train(network: Any) -> Any:
    """A denoiser whose U-Net computes the same, in the way that trains fastest on its device."""
    if device_of(network).type == "cpu":
        network.unet.set_attn_processor(Float32Attention())
    elif device_of(network).type == "cuda":
        network.unet.compile(dynamic=False)
    return network.to(memory_format=torch.channels_last)


#: Of a network, the data and a stream of random numbers: products and views [B] of a batch, and what is told of them.
BatchOf = Callable[[Any, ViewLatents, np.random.Generator], tuple[NDArray[np.int64], NDArray[np.int64], Condition]]


def _train(
    network: Any, data: ViewLatents, batch_of: BatchOf, p: DenoiserTraining, checkpoint: Path, report: Report
) -> None:
    """Train a denoiser of views that are drawn by ``batch_of``."""
    network = fast_to_train(network)
    schedule = NoiseSchedule.of(make_scheduler())
    device = device_of(network)
    data = data.to(device)

    def loss_of_step(net: Any, step: int) -> Tensor:
        rng, generator = step_generator(p.seed, step, device)
        product, view, condition = batch_of(net, data, rng)
        clean = data.scaled(product, view)
        timesteps = draw_timesteps(len(product), p.high_noise_share, rng).to(device)
        noise = torch.randn(clean.shape, generator=generator, device=device)
        return denoising_loss(net.unet, condition, clean, timesteps, noise, schedule)

    fit(network, loss_of_step, p, checkpoint, report, data.checksum)


def train_text_to_image(
    network: TextDenoiser,
    data: ViewLatents,
    tokenizer: CLIPTokenizer,
    p: DenoiserTraining,
    checkpoint: Path,
    report: Report,
) -> TextDenoiser:
    """The small Stable Diffusion: every view of every product under its caption."""

    def batch_of(
        net: TextDenoiser, data: ViewLatents, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Condition]:
        product, view = data.draw(rng, p.batch_size), rng.integers(0, data.azimuth_deg.shape[1], p.batch_size)
        texts = [
            "" if rng.random() < p.condition_dropout else data.sentence(i, v, rng)
            for i, v in zip(product, view, strict=True)
        ]
        return product, view, Condition(net.context(texts, tokenizer))

    _train(network, data, batch_of, p, checkpoint, report)
    return network


class NovelViewDenoiser(nn.Module):
    """What of the small Zero-1-to-3 learns."""

    def __init__(
        self,
        unet: UNet2DConditionModel,
        image_encoder: CLIPVisionModelWithProjection,
        camera_projection: CLIPCameraProjection,
    ) -> None:
        super().__init__()
        self.unet, self.image_encoder, self.camera_projection = unet, image_encoder, camera_projection

    @classmethod
    def new(cls, architecture: ArchitectureParameters, start: UNet2DConditionModel, seed: int) -> NovelViewDenoiser:
        """Its U-Net starts as the small Stable Diffusion's."""
        torch.manual_seed(seed)
        unet = widen_input(start, architecture)
        return cls(unet, make_image_encoder(architecture), make_camera_projection(architecture))

    @classmethod
    def of_folder(cls, folder: Path) -> NovelViewDenoiser:
        return cls(
            load_network(UNet2DConditionModel, folder, "unet", torch.float32),
            load_network(CLIPVisionModelWithProjection, folder, "image_encoder", torch.float32),
            load_network(CLIPCameraProjection, folder, "clip_camera_projection", torch.float32),
        )

    def condition(self, data: ViewLatents, product: NDArray[np.int64], view: NDArray[np.int64]) -> Condition:
        """What the U-Net is told of the photos of products [B] and of where a view [B] of each is."""
        device = device_of(self)
        photographed, nth = np.unique(product, return_inverse=True)
        # mean and deviation of 0.5 map [0, 1] to [-1, 1]
        pixels = to_network(data.photos[torch.from_numpy(photographed)], device)
        azimuth, elevation = (torch.from_numpy(deg[product, view]) for deg in (data.azimuth_deg, data.elevation_deg))
        pose = relative_pose(torch.from_numpy(data.elevation_deg[product, 0]), azimuth, elevation).to(device)
        with mixed_precision(device):
            tokens = image_tokens(self.image_encoder, pixels, self.camera_projection.num_tokens)
            context: Tensor = self.camera_projection(tokens[torch.from_numpy(nth).to(device)], pose)
        return Condition(context, data.modes(product, 0).to(device), pose_labels(self.unet, pose))


def widen_input(unet: UNet2DConditionModel, architecture: ArchitectureParameters) -> UNet2DConditionModel:
    """The same U-Net with room for condition latents and the pose, which start at zero (as Zero-1-to-3 starts)."""
    wide = make_unet(architecture, 2 * architecture.latent_channels, POSE_DIM)
    state = unet.state_dict()
    narrow = state["conv_in.weight"]
    state["conv_in.weight"] = torch.cat([narrow, torch.zeros_like(narrow)], dim=1)
    nn.init.zeros_(wide.class_embedding.linear_2.weight)
    nn.init.zeros_(wide.class_embedding.linear_2.bias)
    wide.load_state_dict(wide.state_dict() | state)
    return wide


def novel_view_errors(network: NovelViewDenoiser, data: ViewLatents) -> list[tuple[int, float]]:
    """The small Zero-1-to-3's errors (see `denoising_errors`)."""
    return list(denoising_errors(network.unet, data, partial(network.condition, data)))


def train_novel_view(
    network: NovelViewDenoiser, data: ViewLatents, p: DenoiserTraining, checkpoint: Path, report: Report
) -> NovelViewDenoiser:
    """The small Zero-1-to-3: from a product's photo to its other views."""
    photos = p.batch_size // p.targets_per_photo

    def batch_of(
        net: NovelViewDenoiser, data: ViewLatents, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Condition]:
        product = np.repeat(data.draw(rng, photos), p.targets_per_photo)
        view = rng.integers(0, data.azimuth_deg.shape[1], len(product))
        keep = torch.from_numpy(rng.random(len(product)) >= p.condition_dropout).float().to(device_of(net))
        return product, view, net.condition(data, product, view).kept(keep)

    _train(network, data, batch_of, p, checkpoint, report)
    return network
