"""Procedural products to pictures, pictures to an autoencoder, latents to two denoisers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import CLIPTokenizer

from mpod_pipeline.datasets import Partitions
from mpod_pipeline.pipelines.train_priors.parameters import TrainPriorsParameters
from mpod_pipeline.priors.saving import save_novel_view_prior, save_text_to_image_prior
from mpod_pipeline.priors.tokenizer import train_tokenizer
from mpod_pipeline.priors.train_autoencoder import autoencoder_psnr, encode
from mpod_pipeline.priors.train_autoencoder import train_autoencoder as fit_autoencoder
from mpod_pipeline.priors.train_denoisers import TEMPLATES, ViewLatents
from mpod_pipeline.priors.train_denoisers import train_novel_view as fit_novel_view
from mpod_pipeline.priors.train_denoisers import train_text_to_image as fit_text_to_image
from mpod_pipeline.report import Report
from mpod_pipeline.synthesis.studio import on_white
from mpod_pipeline.synthesis.views import photograph_many, split_members

Arrays = dict[str, NDArray[Any]]
VIEW_WORDS = ["front view", "side view", "back view", "view from above"]


def photograph_products(parameters: TrainPriorsParameters, made: Partitions) -> Iterator[dict[str, Arrays]]:
    """Pictures of the products of the training and validation splits, a file for some hundreds each."""
    p = parameters.views
    yield {}  # Kedro wants one, even when all is made
    for split, count in (("train", p.train_products), ("validation", p.validation_products)):
        members = split_members(split, count)
        for start in range(0, count, p.products_per_file):
            name = f"{split}-{start // p.products_per_file:04d}"
            if name in made:
                continue
            some = members[start : start + p.products_per_file]
            views = photograph_many(some, p.views, parameters.architecture.image_size, p.workers)
            products = list(tqdm(views, total=len(some), desc=f"photograph {name}"))
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


def train_autoencoder(views: Partitions, parameters: TrainPriorsParameters) -> dict[str, float]:
    """The autoencoder, kept beside its checkpoint until the priors are saved with it. Returns its scores."""
    train = np.concatenate(
        [_pictures(arrays).reshape(-1, *_size(parameters)) for arrays in _split(views, "train")]
    )
    held_out = np.concatenate([_pictures(arrays)[:, 0] for arrays in _split(views, "validation")])
    checkpoint = parameters.checkpoints / "autoencoder.pt"
    network = fit_autoencoder(
        train, parameters.architecture, parameters.autoencoder, checkpoint, _bar("autoencoder")
    )
    network.save_pretrained(parameters.checkpoints / "autoencoder", safe_serialization=True)
    return {"autoencoder_psnr": autoencoder_psnr(network, held_out)}


def encode_views(
    views: Partitions, scores: dict[str, float], parameters: TrainPriorsParameters
) -> Iterator[dict[str, Arrays]]:
    """The latents of all training pictures; only these and the photos are needed from here on."""
    network = AutoencoderKL.from_pretrained(parameters.checkpoints / "autoencoder").eval()
    for name in tqdm(sorted(n for n in views if n.startswith("train-")), desc="encode"):
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
            }
        }


def train_text_to_image(latents: Partitions, parameters: TrainPriorsParameters) -> dict[str, float]:
    """The small Stable Diffusion, and the folder that the loader reads."""
    network = AutoencoderKL.from_pretrained(parameters.checkpoints / "autoencoder").eval()
    data = _view_latents(latents, network)
    tokenizer = _tokenizer(data, parameters, parameters.checkpoints / "tokenizer")
    report = _bar("text to image")
    denoiser = fit_text_to_image(
        data,
        tokenizer,
        parameters.architecture,
        parameters.text_to_image,
        parameters.checkpoints / "text_to_image.pt",
        report,
    )
    save_text_to_image_prior(parameters.priors / "text_to_image", network, tokenizer, denoiser)
    return {"steps": parameters.text_to_image.steps}


def train_novel_view(
    latents: Partitions, text_to_image: Any, parameters: TrainPriorsParameters
) -> dict[str, float]:
    """The small Zero-1-to-3, started from the small Stable Diffusion's U-Net, and its folder."""
    network = AutoencoderKL.from_pretrained(parameters.checkpoints / "autoencoder").eval()
    start = UNet2DConditionModel.from_pretrained(
        parameters.priors / "text_to_image", subfolder="unet"
    ).float()
    data = _view_latents(latents, network)
    denoiser = fit_novel_view(
        data,
        start,
        parameters.architecture,
        parameters.novel_view,
        parameters.checkpoints / "novel_view.pt",
        _bar("novel view"),
    )
    save_novel_view_prior(parameters.priors / "novel_view", network, denoiser, parameters.architecture)
    return {"steps": parameters.novel_view.steps}


def _split(views: Partitions, split: str) -> Iterator[Mapping[str, NDArray[Any]]]:
    return (views[name]() for name in sorted(views) if name.startswith(f"{split}-"))


def _pictures(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """[N, V, H, W, 3] on white."""
    return on_white(arrays["pictures"])


def _size(parameters: TrainPriorsParameters) -> tuple[int, int, int]:
    return (parameters.architecture.image_size, parameters.architecture.image_size, 3)


def _view_latents(latents: Partitions, network: AutoencoderKL) -> ViewLatents:
    parts = [latents[name]() for name in sorted(latents)]
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
    return ViewLatents(
        torch.from_numpy(joined["latents"]),
        joined["photos"],
        joined["azimuth_deg"],
        joined["elevation_deg"],
        [str(caption) for caption in joined["caption"]],
        float(network.config.scaling_factor),
    )


def _tokenizer(data: ViewLatents, parameters: TrainPriorsParameters, folder: Path) -> CLIPTokenizer:
    """The tokenizer of this training; made once, since what a token means must not change."""
    if not folder.is_dir():
        sentences = [template.format(caption) for caption in data.captions for template in TEMPLATES]
        made = train_tokenizer(
            [*sentences, *VIEW_WORDS], parameters.vocabulary, parameters.architecture.text_length
        )
        made.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)


def _bar(name: str) -> Report:
    """A progress bar with the running mean of the loss."""
    bar: tqdm[Any] = tqdm(desc=name, unit="step")
    recent: list[float] = []

    def report(step: int, total: int, losses: dict[str, float]) -> None:
        recent.append(losses["loss"])
        bar.total = total
        bar.n = step
        bar.set_postfix(loss=f"{np.mean(recent[-50:]):.4f}", refresh=False)
        bar.update(0)

    return report
