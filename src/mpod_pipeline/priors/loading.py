"""Priors from folders, in the formats of the full-size models. Whatever is missing fails here, before any work."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, UNet2DConditionModel, UNet2DModel
from diffusers.utils.logging import disable_progress_bar as disable_diffusers_bars
from safetensors import SafetensorError
from torch import nn
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection
from transformers.utils.logging import disable_progress_bar as disable_transformers_bars

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.weights_files import on_device
from mpod_pipeline.priors.adapters import fuse_adapter
from mpod_pipeline.priors.camera_projection import CLIPCameraProjection
from mpod_pipeline.priors.depth import DEPTH, DepthNetwork
from mpod_pipeline.priors.novel_view import NovelViewPrior
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.priors.text_to_image import TextToImagePrior

# One for each network that is loaded, in the log of every run
disable_diffusers_bars()
disable_transformers_bars()

Precision = Literal["auto", "float32", "bfloat16", "float16"]
T = TypeVar("T")
P = TypeVar("P", NovelViewPrior, TextToImagePrior)


def resolve_dtype(precision: Precision, device: str) -> torch.dtype:
    """ "auto": half precision where the hardware is fast at it (float16 on CUDA, bfloat16 on CPUs that have it)."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.startswith("cuda"):
        return torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    # private, and not in every release; without them an older PyTorch computes in float32
    asked = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in asked)


def load_novel_view_prior(
    folder: str | Path,
    *,
    device: str = "cpu",
    precision: Precision = "auto",
    absolute_elevation: bool = False,
    vae_slicing: bool = False,
    adapters: Sequence[Path] = (),
) -> NovelViewPrior:
    """Load a Zero-1-to-3 from a folder in the layout of ``ashawkey/zero123-xl-diffusers``.

    The folder may have a depth network beside, in ``depth``.

    Args:
        folder: The weights. Nothing is downloaded.
        device: Where it is to be, as PyTorch names it.
        precision: "auto": half precision where the hardware is fast at it.
        absolute_elevation: The weights are Stable-Zero123 (``ashawkey/stable-zero123-diffusers``). Its configs are
            those of Zero-1-to-3 to the letter, and its pose vector is another.
        vae_slicing: Encode picture by picture, which takes less memory and more time (see `encode_pictures`).
        adapters: Files of what its U-Net has learnt besides.

    Returns:
        The frozen prior.

    Raises:
        SetupError: Something is missing; it says what.

    Example:
        >>> prior = load_novel_view_prior("data/06_models/priors/novel_view")  # doctest: +SKIP
    """
    folder = Path(folder)
    _check_parts(folder, ("vae", "image_encoder", "unet", "scheduler", "feature_extractor", "clip_camera_projection"))
    dtype = resolve_dtype(precision, device)
    processor = _part(CLIPImageProcessor.from_pretrained, folder, "feature_extractor")
    prior = NovelViewPrior(
        load_network(AutoencoderKL, folder, "vae", dtype),
        load_network(CLIPVisionModelWithProjection, folder, "image_encoder", dtype),
        _unet(folder, dtype, adapters),
        load_network(CLIPCameraProjection, folder, "clip_camera_projection", dtype),
        NoiseSchedule.of(_part(DDIMScheduler.from_pretrained, folder, "scheduler")),
        tuple(processor.image_mean),
        tuple(processor.image_std),
        absolute_elevation,
        DepthNetwork(load_network(UNet2DModel, folder, DEPTH, dtype)) if (folder / DEPTH).is_dir() else None,
    )
    prior.vae.use_slicing = vae_slicing
    _check_fit(folder, prior.unet, 2 * prior.vae.config.latent_channels, prior.camera_projection.embedding_dim)
    return _placed(prior, device)


def load_text_to_image_prior(
    folder: str | Path,
    *,
    device: str = "cpu",
    precision: Precision = "auto",
    vae_slicing: bool = False,
    adapters: Sequence[Path] = (),
) -> TextToImagePrior:
    """Load a Stable Diffusion (1.x, 2.x) from a pipeline's folder.

    Args:
        folder: The weights. Nothing is downloaded.
        device: Where it is to be, as PyTorch names it.
        precision: "auto": half precision where the hardware is fast at it.
        vae_slicing: Encode picture by picture, which takes less memory and more time (see `encode_pictures`).
        adapters: Files of what its U-Net has learnt besides.

    Returns:
        The frozen prior.

    Raises:
        SetupError: Something is missing; it says what.

    Example:
        >>> prior = load_text_to_image_prior("data/06_models/priors/text_to_image")  # doctest: +SKIP
    """
    folder = Path(folder)
    _check_parts(folder, ("vae", "text_encoder", "tokenizer", "unet", "scheduler"))
    dtype = resolve_dtype(precision, device)
    prior = TextToImagePrior(
        load_network(AutoencoderKL, folder, "vae", dtype),
        _part(CLIPTokenizer.from_pretrained, folder, "tokenizer"),
        # tokens are learnt through the text encoder; it is small, and half precision would lose their gradients
        load_network(CLIPTextModel, folder, "text_encoder", torch.float32),
        _unet(folder, dtype, adapters),
        NoiseSchedule.of(_part(DDIMScheduler.from_pretrained, folder, "scheduler")),
    )
    prior.vae.use_slicing = vae_slicing
    _check_fit(folder, prior.unet, prior.vae.config.latent_channels, prior.token_dim)
    return _placed(prior, device)


def _unet(folder: Path, dtype: torch.dtype, adapters: Sequence[Path]) -> UNet2DConditionModel:
    """The U-Net with its adapters in its weights, which are rounded once."""
    precision = torch.float32 if adapters else dtype
    unet: UNet2DConditionModel = load_network(UNet2DConditionModel, folder, "unet", precision)
    for file in adapters:
        fuse_adapter(unet, file)
    nn.Module.to(unet, dtype)  # diffusers' own warns of modules for float32, of which this one has none
    return unet


def _placed(prior: P, device: str) -> P:
    """The prior on its device. Its U-Net has its channels last in memory, in which convolutions are fastest; not its
    autoencoder, see `encode_pictures`.
    """
    prior = on_device(prior, device)
    prior.unet.to(memory_format=torch.channels_last)
    return prior


def load_mask_controlnet(folder: str | Path, prior: TextToImagePrior) -> ControlNetModel:
    """Load a ControlNet for a prior, on its device and in its precision.

    Args:
        folder: ``config.json`` and weights.
        prior: What it controls.

    Returns:
        The frozen network.

    Raises:
        SetupError: It is missing, or was made for another family of Stable Diffusion.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise SetupError(
            f"There is no ControlNet at {folder}; set detail.controlnet to its folder, or train the small one: "
            "kedro run --pipeline=train_mask_control"
        )
    network = load_network(ControlNetModel, folder, "", prior.unet.dtype)
    config, unet = network.config, prior.unet.config
    shrinks = 2 ** (len(config.conditioning_embedding_out_channels) - 1)
    family = (config.cross_attention_dim, tuple(config.block_out_channels), config.in_channels, shrinks)
    scale = prior.image_size // unet.sample_size
    wanted = (unet.cross_attention_dim, tuple(unet.block_out_channels), unet.in_channels, scale)
    if family != wanted or config.conditioning_channels != 3:
        raise SetupError(
            f"The ControlNet at {folder} does not fit the text prior (token width, channels, latent channels, scale): "
            f"{family}, not {wanted}."
        )
    network = on_device(network, prior.device).to(memory_format=torch.channels_last)
    return network.eval().requires_grad_(False)


def _check_parts(folder: Path, parts: tuple[str, ...]) -> None:
    """Raise SetupError unless the folder has all parts."""
    if not folder.is_dir():
        raise SetupError(
            f"There is no prior at {folder}. Give a folder of weights, or train the small ones: "
            "kedro run --pipeline=train_priors --params=priors=FOLDER"
        )
    missing = [part for part in parts if not (folder / part).is_dir()]
    if missing:
        raise SetupError(f"The prior at {folder} lacks {', '.join(missing)}; it should have {', '.join(parts)}.")


def _check_fit(folder: Path, unet: UNet2DConditionModel, channels: int, context_dim: int) -> None:
    """Raise SetupError unless the U-Net takes these latents and tokens of this width."""
    if unet.config.in_channels != channels:
        raise SetupError(
            f"{folder}/unet takes {unet.config.in_channels} channels, but the folder's other parts give {channels}: "
            "Stable Diffusion takes noisy latents, Zero-1-to-3 noisy and condition latents."
        )
    if unet.config.cross_attention_dim != context_dim:
        raise SetupError(
            f"{folder}/unet attends to tokens of width {unet.config.cross_attention_dim}, "
            f"but its encoder makes tokens of width {context_dim}."
        )


def load_network(cls: Any, folder: Path, part: str, dtype: torch.dtype) -> Any:
    """A network with all of its weights: the libraries would draw at random what a file lacks.

    Files are safetensors, or pickles, which both libraries open as plain weights only.
    """
    network, report = _part(cls.from_pretrained, folder, part, torch_dtype=dtype, output_loading_info=True)
    lacking = sorted({*report["missing_keys"], *map(str, report["mismatched_keys"])})
    if lacking:
        some = ", ".join(lacking[:3]) + (", ..." if len(lacking) > 3 else "")
        raise SetupError(f"{folder}/{part} has no weights that fit for {some}: download it again.")
    return network


def _part(load: Callable[..., T], folder: Path, part: str, **options: Any) -> T:
    """Load a subfolder; what the library says on failure becomes a SetupError."""
    try:
        return load(str(folder), subfolder=part, local_files_only=True, **options)
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError, pickle.UnpicklingError) as error:
        raise SetupError(f"{folder}/{part} cannot be loaded: {error}") from error
