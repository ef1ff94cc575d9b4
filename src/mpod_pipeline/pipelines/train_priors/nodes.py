"""Procedural products to pictures, pictures to an autoencoder, latents to two denoisers."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DModel
from numpy.typing import NDArray
from tqdm import tqdm
from transformers import CLIPTokenizer

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.text import some
from mpod_pipeline.datasets import Models, Partitions, Weights, WriteWeights
from mpod_pipeline.pipelines.train_priors.models import (
    SPLITS,
    Arrays,
    as_arrays,
    check_models,
    files_of,
    photograph_missing,
)
from mpod_pipeline.pipelines.train_priors.parameters import TrainPriorsParameters, ViewsParameters
from mpod_pipeline.pipelines.watching import Curve, watched
from mpod_pipeline.priors import load_novel_view_prior, load_text_to_image_prior
from mpod_pipeline.priors.adapters import ADAPTER_FILE, add_adapter, fuse_adapter, save_adapter
from mpod_pipeline.priors.architecture import make_scheduler
from mpod_pipeline.priors.depth import DEPTH, DepthNetwork, make_depth_unet
from mpod_pipeline.priors.saving import save_novel_view_prior, save_text_to_image_prior
from mpod_pipeline.priors.schedule import NoiseSchedule
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
from mpod_pipeline.priors.train_depth import DepthPictures
from mpod_pipeline.priors.train_depth import train_depth as fit_depth
from mpod_pipeline.priors.training import fingerprint
from mpod_pipeline.synthesis.depths import depth_members, photograph_many_depths
from mpod_pipeline.synthesis.studio import on_white
from mpod_pipeline.synthesis.views import photograph_many, split_members

logger = logging.getLogger(__name__)

VALIDATION = "validation products"
NO_MODELS = Models()
Denoiser = TextDenoiser | NovelViewDenoiser
D = TypeVar("D", TextDenoiser, NovelViewDenoiser)
#: Pixels a side of the depth network's pictures, and what is kept of them.
DEPTH_PIXELS = 64
_DEPTH_ARRAYS = ("pictures", "depth", "elevation_deg")
VIEW_WORDS = ["front view", "side view", "back view", "view from above"]


def photograph_products(
    parameters: TrainPriorsParameters, made: Partitions, models: Models = NO_MODELS
) -> Iterator[dict[str, Arrays]]:
    """Pictures of the products of the training and validation splits, a file for some hundreds each, and of models, a
    file each. What is there already is kept; models that cannot be photographed are told and left out.

    Raises SetupError where what is there was made by other settings, where there are no models to learn from or no
    priors to learn on top of.
    """
    p = parameters.views
    check_models(models, parameters)
    if parameters.adapter and parameters.start_from:
        _check_start(parameters.start_from)
    yield {}  # Kedro wants one, even when all is made
    files = _generated(p)
    missing = {name: members for name, members in files.items() if name not in made}
    for name in files:
        if name in made:
            _check_made(name, made[name](), files[name], parameters)
    yield from photograph_missing(parameters, made, models)
    everyone = [member for members in missing.values() for member in members]
    views = photograph_many(everyone, p.views, parameters.architecture.image_size, p.workers)
    views = iter(tqdm(views, total=len(everyone), desc="photograph"))
    for name, members in missing.items():
        yield {name: as_arrays(list(islice(views, len(members))))}


def train_autoencoder(
    views: Partitions, parameters: TrainPriorsParameters, models: Models = NO_MODELS
) -> tuple[WriteWeights, Curve]:
    """The autoencoder of both priors, and its losses; that of ``start_from``, if none is to be trained."""
    start = _autoencoder(parameters.start_from / "novel_view", "vae") if parameters.start_from else None
    if parameters.autoencoder is None:
        assert start is not None  # as the parameters' own check says
        return partial(start.save_pretrained, safe_serialization=True), []
    photographed = [on_white(arrays["pictures"]) for arrays in _split(views, "train", parameters, models)]
    pictures = np.concatenate([each.reshape(-1, *each.shape[2:]) for each in photographed])
    report, curve = watched("autoencoder")
    how = parameters.architecture, parameters.autoencoder, parameters.checkpoints / "autoencoder.pt"
    network = fit_autoencoder(pictures, *how, report, parameters.device, start)
    return partial(network.save_pretrained, safe_serialization=True), curve


def photograph_depths(parameters: TrainPriorsParameters) -> Iterator[dict[str, Arrays]]:
    """What the depth network learns from, a file for some hundreds of products each."""
    yield {}  # Kedro wants one, even when none is to be trained
    if (p := parameters.depth) is None:
        return
    members = depth_members("train", p.train_products)
    taken = photograph_many_depths(members, p.views, DEPTH_PIXELS, parameters.views.workers)
    taken = iter(tqdm(taken, total=len(members), desc="depths"))
    for k in range(0, len(members), parameters.views.products_per_file):
        some_views = list(islice(taken, parameters.views.products_per_file))
        joined = {name: np.concatenate([getattr(v, name) for v in some_views]) for name in _DEPTH_ARRAYS}
        yield {f"depths-{k:05d}": joined}


def train_depth(views: Partitions, parameters: TrainPriorsParameters) -> tuple[WriteWeights, Curve]:
    """The depth network of the novel-view prior, and its losses; that of ``start_from``, if none is to be trained.

    Raises SetupError where that has none.
    """
    if (p := parameters.depth) is None:
        assert parameters.start_from is not None  # as the parameters' own check says
        folder = parameters.start_from / "novel_view"
        if not (folder / DEPTH).is_dir():
            raise SetupError(f"{folder} has no depth network to keep: let one be trained, by train_priors.depth.")
        unet = UNet2DModel.from_pretrained(folder, subfolder=DEPTH, local_files_only=True).float()
        return partial(unet.save_pretrained, safe_serialization=True), []
    parts = [views[name]() for name in views]
    data = DepthPictures(*(np.concatenate([part[name] for part in parts]) for name in _DEPTH_ARRAYS))
    report, curve = watched("depth")
    torch.manual_seed(p.seed)
    start = DepthNetwork(make_depth_unet(DEPTH_PIXELS))
    network = fit_depth(start, data, p, parameters.checkpoints / "depth.pt", report, parameters.device)
    return partial(network.unet.cpu().save_pretrained, safe_serialization=True), curve


def encode_views(
    views: Partitions, autoencoder: Weights, parameters: TrainPriorsParameters, models: Models = NO_MODELS
) -> Iterator[dict[str, Arrays]]:
    """The latents of all pictures; only these and the photos are needed from here on."""
    network = _autoencoder(autoencoder.path).to(parameters.device)
    checksum = _checksum(network)
    modelled = [name for split in SPLITS for name in files_of(models, split, parameters)]
    if lacking := [name for name in modelled if name not in views]:
        logger.warning("Models that were not photographed are left out: %s", some(lacking, len(lacking)))
    for name in tqdm([*_generated(parameters.views), *filter(views.__contains__, modelled)], desc="encode"):
        arrays = views[name]()
        pictures = on_white(arrays["pictures"])
        products, count = pictures.shape[:2]
        latents = encode(network, pictures.reshape(-1, *pictures.shape[2:]))
        encoded = {
            "latents": latents.reshape(products, count, *latents.shape[1:]).numpy(),
            "photos": pictures[:, 0],
            "autoencoder": np.array(checksum),
        }
        yield {name: encoded | {kept: arrays[kept] for kept in ("azimuth_deg", "elevation_deg", "caption")}}


def train_text_to_image(
    latents: Partitions, autoencoder: Weights, parameters: TrainPriorsParameters, models: Models = NO_MODELS
) -> tuple[WriteWeights, Curve]:
    """The small Stable Diffusion, or an adapter of one, and its losses."""
    network = _autoencoder(autoencoder.path)
    data = _view_latents(latents, network, "train", parameters, models)
    tokenizer = _tokenizer(data, parameters)
    p = parameters.text_to_image
    report, curve = watched("text to image")
    if parameters.start_from:
        start = TextDenoiser.of_folder(parameters.start_from / "text_to_image")
        if parameters.take_novel_view_layers:
            start.take_layers(NovelViewDenoiser.of_folder(parameters.start_from / "novel_view").unet)
    else:
        start = TextDenoiser.new(parameters.architecture, tokenizer, p.seed)
    _prepare(start, parameters, "text_to_image", models)
    checkpoint = parameters.checkpoints / "text_to_image.pt"
    denoiser = fit_text_to_image(start.to(parameters.device), data, tokenizer, p, checkpoint, report).cpu()
    if parameters.adapter:
        return partial(save_adapter, unet=denoiser.unet, strength=parameters.adapter.strength), curve
    return partial(save_text_to_image_prior, vae=network, tokenizer=tokenizer, network=denoiser), curve


def train_novel_view(
    latents: Partitions,
    autoencoder: Weights,
    text_to_image: Weights,
    depth_network: Weights,
    parameters: TrainPriorsParameters,
    models: Models = NO_MODELS,
) -> tuple[WriteWeights, Curve]:
    """The small Zero-1-to-3 with its depth network, started from the small Stable Diffusion's U-Net, or an adapter of
    one; and its losses.
    """
    network = _autoencoder(autoencoder.path)
    p = parameters.novel_view
    report, curve = watched("novel view")
    start = (
        NovelViewDenoiser.of_folder(parameters.start_from / "novel_view")
        if parameters.start_from
        else NovelViewDenoiser.new(parameters.architecture, TextDenoiser.of_folder(text_to_image.path).unet, p.seed)
    )
    _prepare(start, parameters, "novel_view", models)
    data = _view_latents(latents, network, "train", parameters, models)
    checkpoint = parameters.checkpoints / "novel_view.pt"
    denoiser = fit_novel_view(start.to(parameters.device), data, p, checkpoint, report).cpu()
    if parameters.adapter:
        return partial(save_adapter, unet=denoiser.unet, strength=parameters.adapter.strength), curve
    depth = UNet2DModel.from_pretrained(depth_network.path, local_files_only=True)
    parts = {"vae": network, "network": denoiser, "architecture": parameters.architecture, "depth": depth}
    return partial(save_novel_view_prior, **parts), curve


def _prepare(network: Denoiser, parameters: TrainPriorsParameters, part: str, models: Models) -> None:
    """Let the adapter learn in place of the weights, if one is to. Raises SetupError as `check_models`."""
    check_models(models, parameters)
    if parameters.adapter:
        network.requires_grad_(False)
        add_adapter(network.unet, parameters.adapter, getattr(parameters, part).seed)


def _check_start(folder: Path) -> None:
    """Raise SetupError unless these are priors that an adapter of this training can be added to."""
    own = NoiseSchedule.of(make_scheduler())
    for prior in (load_novel_view_prior(folder / "novel_view"), load_text_to_image_prior(folder / "text_to_image")):
        known = prior.schedule
        alike = torch.allclose(known.alphas_cumprod, own.alphas_cumprod, atol=1e-4)
        if not alike or known.prediction_type != own.prediction_type:
            raise SetupError(
                f"The priors at {folder} are not of the small family: their noise is another. Adapters of them are "
                "learnt by diffusers' own training scripts, and named in the catalog as those of the small ones."
            )


def measure_text_to_image(
    latents: Partitions, text_to_image: Weights, parameters: TrainPriorsParameters, models: Models = NO_MODELS
) -> Curve:
    """(timestep, error of the prediction) of the small Stable Diffusion, on the validation products. That on the models
    that were kept aside is told.
    """
    folder, network = _trained(TextDenoiser, text_to_image, "text_to_image", parameters)
    tokenizer = CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")
    parts = _measured(latents, folder, parameters, models)
    errors = {of: text_to_image_errors(network, data, tokenizer) for of, data in parts.items()}
    return _told("text to image", errors)


def measure_novel_view(
    latents: Partitions, novel_view: Weights, parameters: TrainPriorsParameters, models: Models = NO_MODELS
) -> Curve:
    """(timestep, error of the prediction) of the small Zero-1-to-3, on the validation products. That on the models that
    were kept aside is told.
    """
    folder, network = _trained(NovelViewDenoiser, novel_view, "novel_view", parameters)
    parts = _measured(latents, folder, parameters, models)
    return _told("novel view", {of: novel_view_errors(network, data) for of, data in parts.items()})


def _trained(denoiser: type[D], weights: Weights, part: str, parameters: TrainPriorsParameters) -> tuple[Path, D]:
    """What a training made, and the folder of its other parts: with an adapter, those that it started from."""
    folder = parameters.start_from / part if parameters.adapter and parameters.start_from else weights.path
    network = denoiser.of_folder(folder)
    if parameters.adapter:
        fuse_adapter(network.unet, weights.path / ADAPTER_FILE)
    return folder, network.eval().to(parameters.device)


def _measured(
    latents: Partitions, folder: Path, parameters: TrainPriorsParameters, models: Models
) -> dict[str, ViewLatents]:
    network = _autoencoder(folder, "vae")
    parts = {VALIDATION: _view_latents(latents, network, "validation", parameters, NO_MODELS)}
    if any(name in latents for name in files_of(models, "validation", parameters)):
        both = _view_latents(latents, network, "validation", parameters, models)
        parts["models that were kept aside"] = both.only_models()
    return parts


def _files(split: str, p: ViewsParameters) -> dict[str, list[tuple[str, int]]]:
    """The files of a split by name, and the products (family, seed) of each."""
    count = p.train_products if split == "train" else p.validation_products
    members = split_members(split, count, p.more_kinds)
    starts = range(0, len(members), p.products_per_file)
    return {f"{split}-{k:04d}": members[start : start + p.products_per_file] for k, start in enumerate(starts)}


def _generated(p: ViewsParameters) -> dict[str, list[tuple[str, int]]]:
    return _files("train", p) | _files("validation", p)


def _check_made(
    name: str, arrays: Mapping[str, NDArray[Any]], members: list[tuple[str, int]], parameters: TrainPriorsParameters
) -> None:
    made = list(zip(arrays["family"].tolist(), arrays["seed"].tolist(), strict=True))
    side = parameters.architecture.image_size
    shape = (parameters.views.views, side, side)
    if made != members or arrays["pictures"].shape[1:4] != shape:
        raise SetupError(
            f"The pictures {name} in 03_primary/prior_views were made by other settings of train_priors.views, or of "
            "another size. Give another workspace, or delete that folder and 05_model_input/prior_latents."
        )


def _told(name: str, errors: Mapping[str, Curve]) -> Curve:
    for of, curve in errors.items():
        mean = np.mean([error for _, error in curve])
        at = ", ".join(f"{error:.4f} at t = {timestep}" for timestep, error in curve)
        logger.info("%s: error on %s %.4f (%s)", name, of, mean, at)
    return errors[VALIDATION]


def _autoencoder(folder: Path, part: str | None = None) -> AutoencoderKL:
    return AutoencoderKL.from_pretrained(folder, subfolder=part, local_files_only=True).float().eval()


def _checksum(autoencoder: AutoencoderKL) -> int:
    """Of its weights in half precision, in which priors are stored."""
    return fingerprint(deepcopy(autoencoder).half())


def _split(
    files: Partitions, split: str, parameters: TrainPriorsParameters, models: Models
) -> Iterator[Mapping[str, NDArray[Any]]]:
    """What there is of a split: of the generator's products, then of models."""
    modelled = [name for name in files_of(models, split, parameters) if name in files]
    return (files[name]() for name in [*_files(split, parameters.views), *modelled])


def _view_latents(
    latents: Partitions, network: AutoencoderKL, split: str, parameters: TrainPriorsParameters, models: Models
) -> ViewLatents:
    """Raises SetupError where they are of another autoencoder than ``network``."""
    parts = list(_split(latents, split, parameters, models))
    checksum = _checksum(network)
    if any(part.get("autoencoder") != checksum for part in parts):
        raise SetupError(
            "The latents in 05_model_input/prior_latents are not of this network's autoencoder. With that in "
            "06_models/autoencoder, make them anew by --nodes=encode_views."
        )
    modelled = [name for name in files_of(models, split, parameters) if name in latents]
    if models.of_split(split) and not modelled:
        raise SetupError(f"None of the models ({split}) is photographed and encoded: run without --nodes.")
    joined = {key: np.concatenate([part[key] for part in parts]) for key in parts[0] if key != "autoencoder"}
    return ViewLatents(
        torch.from_numpy(joined["latents"]),
        torch.from_numpy(joined["photos"]),
        joined["azimuth_deg"],
        joined["elevation_deg"],
        [str(caption) for caption in joined["caption"]],
        float(network.config.scaling_factor),
        crc32("".join(modelled).encode(), checksum) if modelled else checksum,
        parameters.views.shots * len(modelled),
        parameters.known_share,
    )


def _tokenizer(data: ViewLatents, parameters: TrainPriorsParameters) -> CLIPTokenizer:
    """The tokenizer of this training; made once, since what a token means must not change."""
    if parameters.start_from:
        return CLIPTokenizer.from_pretrained(parameters.start_from / "text_to_image", subfolder="tokenizer")
    folder = parameters.checkpoints / "tokenizer"
    if not folder.is_dir():
        sentences = [template.format(caption) for caption in data.captions for template in TEMPLATES]
        made = train_tokenizer([*sentences, *VIEW_WORDS], parameters.vocabulary, parameters.architecture.text_length)
        made.save_pretrained(folder)
    return CLIPTokenizer.from_pretrained(folder)
