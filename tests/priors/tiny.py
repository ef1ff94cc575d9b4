"""Tiny priors of the real classes, with random weights; in seconds, and in the real folder formats."""

from __future__ import annotations

from pathlib import Path

import torch

from mpod_pipeline.priors.architecture import (
    POSE_DIM,
    ArchitectureParameters,
    make_autoencoder,
    make_camera_projection,
    make_image_encoder,
    make_text_encoder,
    make_unet,
)
from mpod_pipeline.priors.depth import make_depth_unet
from mpod_pipeline.priors.saving import save_novel_view_prior, save_text_to_image_prior
from mpod_pipeline.priors.tokenizer import train_tokenizer
from mpod_pipeline.priors.train_denoisers import NovelViewDenoiser, TextDenoiser

TINY = ArchitectureParameters(
    image_size=32,
    autoencoder_channels=(8, 16, 16),
    unet_channels=(32, 32, 64),
    attention_heads=2,
    context_dim=32,
    text_layers=1,
    text_length=16,
    image_layers=1,
    patch_size=8,
)
SENTENCES = ["a photo of a red mug", "A high-resolution DSLR image of a blue shoe", "a picture of a lamp"]


def save_tiny_text_to_image(folder: Path) -> Path:
    torch.manual_seed(0)
    tokenizer = train_tokenizer(SENTENCES, 700, TINY.text_length)
    text_encoder = make_text_encoder(TINY, len(tokenizer), tokenizer.bos_token_id, tokenizer.eos_token_id)
    save_text_to_image_prior(folder, make_autoencoder(TINY), tokenizer, TextDenoiser(make_unet(TINY, 4), text_encoder))
    return folder


def save_tiny_novel_view(folder: Path) -> Path:
    torch.manual_seed(0)
    unet = make_unet(TINY, 8, POSE_DIM)
    network = NovelViewDenoiser(unet, make_image_encoder(TINY), make_camera_projection(TINY))
    save_novel_view_prior(folder, make_autoencoder(TINY), network, TINY, make_depth_unet(16, (32, 32)))
    return folder
