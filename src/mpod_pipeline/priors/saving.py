"""The small family as folders in the full-size models' formats; weights in half precision, safetensors."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DModel
from transformers import CLIPImageProcessor, CLIPTokenizer

from mpod_pipeline.priors.architecture import ArchitectureParameters, make_scheduler
from mpod_pipeline.priors.depth import DEPTH
from mpod_pipeline.priors.train_denoisers import NovelViewDenoiser, TextDenoiser


def save_text_to_image_prior(folder: Path, vae: AutoencoderKL, tokenizer: CLIPTokenizer, network: TextDenoiser) -> None:
    """A folder that ``StableDiffusionPipeline.from_pretrained`` reads as it is."""
    StableDiffusionPipeline(
        vae=vae.half(),
        text_encoder=network.text_encoder.half(),
        tokenizer=tokenizer,
        unet=network.unet.half(),
        scheduler=make_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder, safe_serialization=True)
    # transformers would load in the saved precision while diffusers loads in float32, and the two would not fit
    edit_config(folder / "text_encoder", dtype="float32")
    for name in ("vae", "unet"):
        edit_config(folder / name, _name_or_path="")
    for part in (vae, network):
        part.float()


def save_novel_view_prior(
    folder: Path,
    vae: AutoencoderKL,
    network: NovelViewDenoiser,
    architecture: ArchitectureParameters,
    depth: UNet2DModel | None = None,
) -> None:
    """The layout of ``ashawkey/zero123-xl-diffusers``, with the depth network beside."""
    parts: dict[str, torch.nn.Module] = {
        "vae": vae,
        "unet": network.unet,
        "image_encoder": network.image_encoder,
        "clip_camera_projection": network.camera_projection,
    }
    if depth is not None:
        parts[DEPTH] = depth
    for name, part in parts.items():
        part.half().save_pretrained(folder / name, safe_serialization=True)  # type: ignore[operator]
        part.float()
    for name in parts.keys() - {"image_encoder"}:
        edit_config(folder / name, _name_or_path="")
    make_scheduler().save_pretrained(folder / "scheduler")
    side = {"height": architecture.image_size, "width": architecture.image_size}
    CLIPImageProcessor(
        size={"shortest_edge": architecture.image_size}, crop_size=side, image_mean=[0.5] * 3, image_std=[0.5] * 3
    ).save_pretrained(folder / "feature_extractor")


def edit_config(folder: Path, **values: str) -> None:
    """Set values in a saved part's config, such as the path of the machine that it was loaded from."""
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | values, indent=2) + "\n")
