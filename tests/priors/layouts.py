"""The folders of the full-size models in miniature: the real classes and configs, random weights, few channels.

Widths of tokens (768, 1024), numbers and sizes of heads, 77 tokens, patch sizes and schedulers are the originals'; so
are the names and formats of the files. Depths, channels and pictures are small.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, ControlNetModel, DDIMScheduler, PNDMScheduler, UNet2DConditionModel
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPVisionConfig,
    CLIPVisionModelWithProjection,
    DPTConfig,
    DPTForDepthEstimation,
    DPTImageProcessor,
)

from mpod_pipeline.priors.camera_projection import CLIPCameraProjection
from mpod_pipeline.priors.tokenizer import train_tokenizer

SENTENCES = ["a photo of a red mug", "A high-resolution DSLR image of a blue shoe", "a picture of a lamp"]
NOISE: dict[str, Any] = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
#: What distinguishes the U-Nets: 8 heads of Stable Diffusion 1.5 (and Zero-1-to-3), heads of 64 channels of 2.1.
SD15_UNET: dict[str, Any] = {
    "block_out_channels": (32, 64, 64, 64),
    "attention_head_dim": 8,
    "cross_attention_dim": 768,
}
SD21_UNET: dict[str, Any] = {
    "block_out_channels": (64, 128, 128, 128),
    "attention_head_dim": [1, 2, 2, 2],
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "upcast_attention": True,
}
BLOCKS: dict[str, Any] = {"down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",), "layers_per_block": 1}


def make_unet(config: dict[str, Any], in_channels: int = 4, sample_size: int = 8) -> UNet2DConditionModel:
    up = ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3
    return UNet2DConditionModel(sample_size=sample_size, in_channels=in_channels, up_block_types=up, **BLOCKS, **config)


def make_vae() -> AutoencoderKL:
    """Four levels, so latents are an eighth of the picture; attention in the middle."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=0.18215,
    )


def save_tokenizer(folder: Path, pad: str) -> tuple[int, int]:
    """vocab.json, merges.txt and the two configs, as the originals have them; returns (size, end's id)."""
    tokenizer = train_tokenizer(SENTENCES, 700, 77)
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(model["vocab"]), encoding="utf-8")
    merges = "".join(f"{' '.join(pair)}\n" for pair in model["merges"])
    (folder / "merges.txt").write_text("#version: 0.2\n" + merges, encoding="utf-8")
    start, end = "<|startoftext|>", "<|endoftext|>"
    special = {"bos_token": start, "eos_token": end, "unk_token": end, "pad_token": pad}
    (folder / "special_tokens_map.json").write_text(json.dumps(special))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "do_lower_case": True, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokenizer), int(tokenizer.eos_token_id)


def make_text_encoder(
    width: int, heads: int, vocabulary: int, end: int, activation: str = "quick_gelu"
) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=64,
            projection_dim=768,
            num_hidden_layers=1,
            num_attention_heads=heads,
            max_position_embeddings=77,
            hidden_act=activation,
            bos_token_id=end - 1,
            eos_token_id=end,
            pad_token_id=end,
        )
    )


def save_stable_diffusion_15(folder: Path, safetensors: bool = True) -> Path:
    """As ``stable-diffusion-v1-5/stable-diffusion-v1-5``: width 768, epsilon, a PNDM scheduler's config."""
    torch.manual_seed(0)
    vocabulary, end = save_tokenizer(folder / "tokenizer", pad="<|endoftext|>")
    parts = {
        "vae": make_vae(),
        "text_encoder": make_text_encoder(768, 12, vocabulary, end),
        "unet": make_unet(SD15_UNET),
    }
    _save(folder, parts, safetensors)
    write_index(folder, "PNDMScheduler")
    PNDMScheduler(skip_prk_steps=True, **NOISE).save_pretrained(folder / "scheduler")
    return folder


def save_stable_diffusion_21(folder: Path) -> Path:
    """As ``stabilityai/stable-diffusion-2-1`` was: width 1024, GELU, padding with "!", v-prediction, DDIM's config."""
    torch.manual_seed(0)
    vocabulary, end = save_tokenizer(folder / "tokenizer", pad="!")
    parts = {
        "vae": make_vae(),
        "text_encoder": make_text_encoder(1024, 16, vocabulary, end, "gelu"),
        "unet": make_unet(SD21_UNET),
    }
    _save(folder, parts)
    write_index(folder, "DDIMScheduler")
    scheduler = DDIMScheduler(prediction_type="v_prediction", clip_sample=False, **NOISE)
    scheduler.save_pretrained(folder / "scheduler")
    return folder


def save_zero123(folder: Path) -> Path:
    """As ``ashawkey/zero123-xl-diffusers`` and, with the same configs, ``ashawkey/stable-zero123-diffusers``."""
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        projection_dim=768,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=224,
        patch_size=14,
    )
    parts = {
        "vae": make_vae(),
        "image_encoder": CLIPVisionModelWithProjection(vision),
        "unet": make_unet(SD15_UNET, in_channels=8),
        "clip_camera_projection": CLIPCameraProjection(),
    }
    _save(folder, parts)
    # their file knows two settings; the third of ours has its default there
    (folder / "clip_camera_projection" / "config.json").write_text(
        json.dumps({"_class_name": "CLIPCameraProjection", "additional_embeddings": 4, "embedding_dim": 768})
    )
    DDIMScheduler(clip_sample=False, **NOISE).save_pretrained(folder / "scheduler")
    CLIPImageProcessor().save_pretrained(folder / "feature_extractor")
    return folder


def save_controlnet(folder: Path, unet: UNet2DConditionModel) -> Path:
    """As the ControlNets of Stable Diffusion 1.5: the U-Net's encoder, its pictures reduced by eight."""
    torch.manual_seed(0)
    controlnet = ControlNetModel.from_unet(unet, conditioning_channels=3)
    with torch.no_grad():  # the outlets start at zero; a trained one's are not
        for outlet in (*controlnet.controlnet_down_blocks, controlnet.controlnet_mid_block):
            outlet.weight.normal_(std=0.1)
        controlnet.controlnet_cond_embedding.conv_out.weight.normal_(std=0.1)
    controlnet.save_pretrained(folder)
    return folder


def write_index(folder: Path, scheduler: str) -> None:
    """What `StableDiffusionPipeline.from_pretrained` reads first."""
    parts = {"vae": ["diffusers", "AutoencoderKL"], "text_encoder": ["transformers", "CLIPTextModel"]}
    parts |= {"tokenizer": ["transformers", "CLIPTokenizer"], "unet": ["diffusers", "UNet2DConditionModel"]}
    parts |= {"scheduler": ["diffusers", scheduler]}
    absent = {key: [None, None] for key in ("safety_checker", "feature_extractor", "image_encoder")}
    index = {"_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.6.0", **parts, **absent}
    (folder / "model_index.json").write_text(json.dumps(index))


def _save(folder: Path, parts: dict[str, Any], safetensors: bool = True) -> None:
    """In half precision, as they lie on the hub."""
    for name, part in parts.items():
        part.half().save_pretrained(folder / name, safe_serialization=True)
        if not safetensors:
            (file,) = (folder / name).glob("*.safetensors")
            pickle = "pytorch_model.bin" if name == "text_encoder" else "diffusion_pytorch_model.bin"
            torch.save(part.state_dict(), file.with_name(pickle))
            file.unlink()


def save_dpt(folder: Path) -> Path:
    """A depth network in the layout of ``Intel/dpt-large`` and its like, tiny."""
    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
        backbone_out_indices=[0, 1, 2, 3],
        neck_hidden_sizes=[8, 8, 16, 16],
        fusion_hidden_size=16,
    )
    network = DPTForDepthEstimation(config)
    with torch.no_grad():
        for weight in network.parameters():  # or it says the same of everything
            if weight.ndim > 1:
                torch.nn.init.xavier_normal_(weight)
        network.head.head[-2].bias.fill_(1.0)
    network.save_pretrained(folder)
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(folder)
    return folder


class Trap:
    """A pickle of this writes a file when it is opened without care."""

    def __init__(self, victim: Path) -> None:
        self.victim = victim

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (self.victim,))
