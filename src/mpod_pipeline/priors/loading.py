"""Priors from folders, in the formats of the full-size models. Whatever is missing fails here, before any work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPImageProcessor, CLIPTextModel, CLIPTokenizer, CLIPVisionModelWithProjection

from mpod_pipeline.errors import SetupError
from mpod_pipeline.priors.camera_projection import CLIPCameraProjection
from mpod_pipeline.priors.novel_view import NovelViewPrior
from mpod_pipeline.priors.schedule import NoiseSchedule
from mpod_pipeline.priors.text_to_image import TextToImagePrior

Precision = Literal["auto", "float32", "bfloat16", "float16"]
T = TypeVar("T")


def resolve_dtype(precision: Precision, device: str) -> torch.dtype:
    """ "auto": half precision where the hardware is fast at it (float16 on CUDA, bfloat16 on CPUs that have it)."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    if device.startswith("cuda"):
        return torch.float16
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def cpu_has_bfloat16() -> bool:
    """Whether this CPU multiplies bfloat16 natively (AVX-512 BF16 or AMX)."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def load_novel_view_prior(
    folder: str | Path, *, device: str = "cpu", precision: Precision = "auto"
) -> NovelViewPrior:
    """A Zero-1-to-3 folder (layout of ``ashawkey/zero123-xl-diffusers``). Raises SetupError naming what is missing."""
    check_folder(
        folder, ("vae", "image_encoder", "unet", "scheduler", "feature_extractor", "clip_camera_projection")
    )
    dtype = resolve_dtype(precision, device)
    processor = _part(CLIPImageProcessor.from_pretrained, folder, "feature_extractor")
    prior = NovelViewPrior(
        _network(AutoencoderKL, folder, "vae", dtype),
        _network(CLIPVisionModelWithProjection, folder, "image_encoder", dtype),
        _network(UNet2DConditionModel, folder, "unet", dtype),
        _network(CLIPCameraProjection, folder, "clip_camera_projection", dtype),
        NoiseSchedule.of(_part(DDIMScheduler.from_pretrained, folder, "scheduler")),
        tuple(processor.image_mean),
        tuple(processor.image_std),
    )
    if prior.unet.config.in_channels != 2 * prior.vae.config.latent_channels:
        raise SetupError(
            f"{folder}/unet takes {prior.unet.config.in_channels} channels; "
            "a Zero-1-to-3 takes noisy and condition latents."
        )
    return prior.to(device).to(memory_format=torch.channels_last)


def load_text_to_image_prior(
    folder: str | Path, *, device: str = "cpu", precision: Precision = "auto"
) -> TextToImagePrior:
    """A Stable Diffusion pipeline folder. Raises SetupError naming what is missing."""
    check_folder(folder, ("vae", "text_encoder", "tokenizer", "unet", "scheduler"))
    dtype = resolve_dtype(precision, device)
    prior = TextToImagePrior(
        _network(AutoencoderKL, folder, "vae", dtype),
        _part(CLIPTokenizer.from_pretrained, folder, "tokenizer"),
        # tokens are learnt through the text encoder; it is small, and half precision would lose their gradients
        _network(CLIPTextModel, folder, "text_encoder", torch.float32),
        _network(UNet2DConditionModel, folder, "unet", dtype),
        NoiseSchedule.of(_part(DDIMScheduler.from_pretrained, folder, "scheduler")),
    )
    return prior.to(device).to(memory_format=torch.channels_last)


def check_folder(folder: str | Path, parts: tuple[str, ...]) -> None:
    """Raise SetupError unless a local folder has all parts. A hub id ("owner/name") is left to the hub's client."""
    path = Path(folder)
    if not path.exists():
        if str(folder).count("/") == 1 and not str(folder).startswith((".", "/")) and path.parts[0] != "data":
            return
        raise SetupError(
            f"There is no prior at {folder}. Give a folder of weights, or train the small ones: "
            "kedro run --pipeline=train_priors"
        )
    missing = [part for part in parts if not (path / part).is_dir()]
    if missing:
        raise SetupError(
            f"The prior at {folder} lacks {', '.join(missing)}; it should have {', '.join(parts)}."
        )


def _network(cls: Any, folder: str | Path, part: str, dtype: torch.dtype) -> Any:
    return _part(cls.from_pretrained, folder, part, torch_dtype=dtype, use_safetensors=True)


def _part(load: Callable[..., T], folder: str | Path, part: str, **options: Any) -> T:
    """Load a subfolder; what the library says on failure becomes a SetupError."""
    try:
        return load(str(folder), subfolder=part, local_files_only=Path(folder).exists(), **options)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise SetupError(f"{folder}/{part} cannot be loaded: {error}") from error
