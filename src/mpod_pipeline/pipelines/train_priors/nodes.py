"""Procedural products to pictures, pictures to an autoencoder, latents to two denoisers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import CLIPTokenizer

from mpod_pipeline.datasets import Partitions, Weights, WriteWeights
from mpod_pipeline.errors import SetupError
from mpod_pipeline.pipelines.train_priors.parameters import TrainPriorsParameters, ViewsParameters
from mpod_pipeline.priors.saving import save_novel_view_prior, save_text_to_image_prior
from mpod_pipeline.priors.tokenizer import train_tokenizer
from mpod_pipeline.priors.train_autoencoder import encode
from mpod_pipeline.priors.train_autoencoder import train_autoencoder as fit_autoencoder
from mpod_pipeline.priors.train_denoisers import (
    TEMPLATES,
    NovelViewDenoiser,
    TextDenoiser,
    ViewLatents,
    novel_view_errors,
    text_to_image_errors,
)
from mpod_pipeline.priors.train_denoisers import train_novel_view as fit_novel_view
from mpod_pipeline.priors.train_denoisers import train_text_to_image as fit_text_to_image
from mpod_pipeline.priors.training import fingerprint
from mpod_pipeline.report import Report
from mpod_pipeline.synthesis.studio import on_white
from mpod_pipeline.synthesis.views import photograph_many, split_members

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]
#: (step, mean loss) of a training, once every so many steps; (timestep, error) of a denoiser.
Curve = list[tuple[int, float]]
CURVE_STEPS = 10
VIEW_WORDS = ["front view", "side view", "back view", "view from above"]


def photograph_products(parameters: TrainPriorsParameters, made: Partitions) -> Iterator[dict[str, Arrays]]:
    """Pictures of the products of the training and validation splits, a file for some hundreds each. What is there
    already is kept.

    Raises SetupError where that was made by other settings.
    """
    p = parameters.views
    yield {}  # Kedro wants one, even when all is made
    files = _all_files(p)
    missing = {name: some for name, some in files.items() if name not in made}
    for name in files:
        if name in made:
            _check_made(name, made[name](), files[name], parameters)
    members = [member for some in missing.values() for member in some]
    views = photograph_many(members, p.views, parameters.architecture.image_size, p.workers)
    views = iter(tqdm(views, total=len(members), desc="photograph"))
    for name, some in missing.items():
        products = list(islice(views, len(some)))
        yield {
            name: {
                "pictures": np.stack([v.pictures for v in products]),
                "azimuth_deg": np.stack([v.azimuth_deg for v in products]),
                "elevation_deg": np.stack([v.elevation_deg for v in products]),
                "caption": np.array([v.caption for v in products]),
                "family": np.array([v.family for v in products]),
                "seed": np.array([v.seed for v in products]),
            }
        }


def train_autoencoder(views: Partitions, parameters: TrainPriorsParameters) -> tuple[WriteWeights, Curve]:
    """The autoencoder of both priors, and its losses."""
    pictures = np.concatenate(
        [_pictures(arrays).reshape(-1, *_size(parameters)) for arrays in _split(views, "train", parameters)]
    )
    report, curve = _watched("autoencoder")
    network = fit_autoencoder(
        pictures,
        parameters.architecture,
        parameters.autoencoder,
        parameters.checkpoints / "autoencoder.pt",
        report,
        parameters.device,
        _autoencoder(parameters.start_from / "novel_view", "vae") if parameters.start_from else None,
    )
    return partial(network.save_pretrained, safe_serialization=True), curve


def encode_views(
    views: Partitions, autoencoder: Weights, parameters: TrainPriorsParameters
) -> Iterator[dict[str, Arrays]]:
    """The latents of all pictures; only these and the photos are needed from here on."""
    network = _autoencoder(autoencoder.path).to(parameters.device)
    checksum = _checksum(network)
    for name in tqdm(_all_files(parameters.views), desc="encode"):
        arrays = views[name]()
        pictures = _pictures(arrays)
        products, count = pictures.shape[:2]
        latents = encode(network, pictures.reshape(-1, *pictures.shape[2:]))
        yield {
            name: {
                "latents": latents.reshape(products, count, *latents.shape[1:]).numpy(),
                "photos": pictures[:, 0],
                "azimuth_deg": arrays["azimuth_deg"],
                "elevation_deg": arrays["elevation_deg"],
                "caption": arrays["caption"],
                "autoencoder": np.array(checksum),
            }
        }


def train_text_to_image(
    latents: Partitions, autoencoder: Weights, parameters: TrainPriorsParameters
) -> tuple[WriteWeights, Curve]:
    """The small Stable Diffusion, and its losses."""
    network = _autoencoder(autoencoder.path)
    data = _view_latents(latents, network, "train", parameters)
    tokenizer = _tokenizer(data, parameters)
    p = parameters.text_to_image
    report, curve = _watched("text to image")
    if parameters.start_from:
        start = TextDenoiser.of_folder(parameters.start_from / "text_to_image")
        if parameters.take_novel_view_layers:
            start.take_layers(NovelViewDenoiser.of_folder(parameters.start_from / "novel_view").unet)
    else:
        start = TextDenoiser.new(parameters.architecture, tokenizer, p.seed)
    denoiser = fit_text_to_image(
        start.to(parameters.device), data, tokenizer, p, parameters.checkpoints / "text_to_image.pt", report
    )
    return partial(save_text_to_image_prior, vae=network, tokenizer=tokenizer, network=denoiser.cpu()), curve


def train_novel_view(
    latents: Partitions, autoencoder: Weights, text_to_image: Weights, parameters: TrainPriorsParameters
) -> tuple[WriteWeights, Curve]:
    """The small Zero-1-to-3, started from the small Stable Diffusion's U-Net, and its losses."""
    network = _autoencoder(autoencoder.path)
    p = parameters.novel_view
    report, curve = _watched("novel view")
    start = (
        NovelViewDenoiser.of_folder(parameters.start_from / "novel_view")
        if parameters.start_from
        else NovelViewDenoiser.new(
            parameters.architecture, TextDenoiser.of_folder(text_to_image.path).unet, p.seed
        )
    )
    denoiser = fit_novel_view(
        start.to(parameters.device),
        _view_latents(latents, network, "train", parameters),
        p,
        parameters.checkpoints / "novel_view.pt",
        report,
    )
    return partial(
        save_novel_view_prior, vae=network, network=denoiser.cpu(), architecture=parameters.architecture
    ), curve


def measure_text_to_image(
    latents: Partitions, text_to_image: Weights, parameters: TrainPriorsParameters
) -> Curve:
    """(timestep, error of the prediction) of the small Stable Diffusion, on the validation products."""
    network = TextDenoiser.of_folder(text_to_image.path).eval().to(parameters.device)
    tokenizer = CLIPTokenizer.from_pretrained(text_to_image.path, subfolder="tokenizer")
    data = _view_latents(latents, _autoencoder(text_to_image.path, "vae"), "validation", parameters)
    return _told("text to image", text_to_image_errors(network, data, tokenizer))


def measure_novel_view(latents: Partitions, novel_view: Weights, parameters: TrainPriorsParameters) -> Curve:
    """(timestep, error of the prediction) of the small Zero-1-to-3, on the validation products."""
    network = NovelViewDenoiser.of_folder(novel_view.path).eval().to(parameters.device)
    data = _view_latents(latents, _autoencoder(novel_view.path, "vae"), "validation", parameters)
    return _told("novel view", novel_view_errors(network, data))


def _files(split: str, p: ViewsParameters) -> dict[str, list[tuple[str, int]]]:
    """The files of a split by name, and the products (family, seed) of each."""
    members = split_members(split, p.train_products if split == "train" else p.validation_products)
    starts = range(0, len(members), p.products_per_file)
    return {
        f"{split}-{k:04d}": members[start : start + p.products_per_file] for k, start in enumerate(starts)
    }


def _all_files(p: ViewsParameters) -> dict[str, list[tuple[str, int]]]:
    return _files("train", p) | _files("validation", p)


def _check_made(
    name: str,
    arrays: Mapping[str, NDArray[Any]],
    members: list[tuple[str, int]],
    parameters: TrainPriorsParameters,
) -> None:
    made = list(zip(arrays["family"].tolist(), arrays["seed"].tolist(), strict=True))
    shape = (parameters.views.views, *_size(parameters)[:2])
    if made != members or arrays["pictures"].shape[1:4] != shape:
        raise SetupError(
            f"The pictures {name} in 03_primary/prior_views were made by other settings of train_priors.views, or of "
            "another size. Give another workspace, or delete that folder and 05_model_input/prior_latents."
        )


def _told(name: str, errors: Curve) -> Curve:
    mean = np.mean([error for _, error in errors])
    at = ", ".join(f"{error:.4f} at t = {timestep}" for timestep, error in errors)
    logger.info("%s: error on validation products %.4f (%s)", name, mean, at)
    return errors


def _autoencoder(folder: Path, part: str | None = None) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(folder, subfolder=part, local_files_only=True).float().eval()


def _checksum(autoencoder: AutoencoderKL) -> int:
    """Of its weights in half precision, in which priors are stored."""
    return fingerprint(deepcopy(autoencoder).half())


def _split(
    files: Partitions, split: str, parameters: TrainPriorsParameters
) -> Iterator[Mapping[str, NDArray[Any]]]:
    return (files[name]() for name in _files(split, parameters.views))


def _pictures(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """[N, V, H, W, 3] on white."""
    return on_white(arrays["pictures"])


def _size(parameters: TrainPriorsParameters) -> tuple[int, int, int]:
    return (parameters.architecture.image_size, parameters.architecture.image_size, 3)


def _view_latents(
    latents: Partitions, network: AutoencoderKL, split: str, parameters: TrainPriorsParameters
) -> ViewLatents:
    """Raises SetupError where they are of another autoencoder than ``network``."""
    parts = list(_split(latents, split, parameters))
    checksum = _checksum(network)
    if any(part.get("autoencoder") != checksum for part in parts):
        raise SetupError(
            "The latents in 05_model_input/prior_latents are not of this network's autoencoder. With that in "
            "06_models/autoencoder, make them anew by --nodes=encode_views."
        )
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if key != "autoencoder"}
    return ViewLatents(
        torch.from_numpy(joined["latents"]),
        torch.from_numpy(joined["photos"]),
        joined["azimuth_deg"],
        joined["elevation_deg"],
        [str(caption) for caption in joined["caption"]],
        float(network.config.scaling_factor),
        checksum,
    )


def _tokenizer(data: ViewLatents, parameters: TrainPriorsParameters) -> CLIPTokenizer:
    """The tokenizer of this training; made once, since what a token means must not change."""
    if parameters.start_from:
        return CLIPTokenizer.from_pretrained(parameters.start_from / "text_to_image", subfolder="tokenizer")
    folder = parameters.checkpoints / "tokenizer"
    if not folder.is_dir():
        sentences = [template.format(caption) for caption in data.captions for template in TEMPLATES]
        made = train_tokenizer(
            [*sentences, *VIEW_WORDS], parameters.vocabulary, parameters.architecture.text_length
        )
        made.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _watched(name: str) -> tuple[Report, Curve]:
    """A progress bar with the running mean of the loss, and the curve that fills as it is told: its means over
    ``CURVE_STEPS`` steps.
    """
    bar: tqdm[Any] = tqdm(desc=name, unit="step")
    recent: list[float] = []
    curve: Curve = []

    def report(step: int, total: int, losses: dict[str, float]) -> None:
        recent.append(losses["loss"])
        if step % CURVE_STEPS == 0 or step == total:
            curve.append((step, float(np.mean(recent[-CURVE_STEPS:]))))
        bar.total = total
        bar.n = step
        bar.set_postfix(loss=f"{np.mean(recent[-50:]):.4f}", refresh=False)
        bar.update(0)

    return report, curve
