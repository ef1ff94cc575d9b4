"""Adapters: what a U-Net learns beside its weights, in a small file (LoRA, E. Hu et al. 2022; by PEFT, as diffusers has
them).
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from pydantic import Field, PositiveInt
from safetensors import SafetensorError
from torch import nn

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import Parameters

#: The file within a folder, as diffusers names it.
ADAPTER_FILE = "pytorch_lora_weights.safetensors"
#: Of an adapter within a U-Net; PEFT's own.
NAME = "default"


class AdapterParameters(Parameters):
    """What learns in place of all weights."""

    rank: PositiveInt = 8
    strength: float = Field(
        1.0, gt=0, le=1, description="share of what was learnt that its file has: with less, less is forgotten"
    )


def add_adapter(unet: UNet2DConditionModel, p: AdapterParameters, seed: int) -> None:
    """Give every linear layer and convolution of a U-Net two thin ones beside it, which alone are to learn. They add
    nothing at first.
    """
    from peft import LoraConfig  # seconds, here as below, which who has no adapter need not pay

    unet.requires_grad_(False)
    layers = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    torch.manual_seed(seed)
    unet.add_adapter(LoraConfig(r=p.rank, lora_alpha=p.rank, target_modules=layers))


def save_adapter(folder: Path, unet: UNet2DConditionModel, strength: float = 1.0) -> None:
    """``ADAPTER_FILE`` in half precision: ``StableDiffusionPipeline.load_lora_weights(folder)`` reads it.

    strength: see `AdapterParameters`. The second of the two thin layers is multiplied by it.
    """
    from diffusers import StableDiffusionPipeline
    from peft import get_peft_model_state_dict

    learnt = get_peft_model_state_dict(unet).items()
    scaled = {name: weight * strength if ".lora_B." in name else weight for name, weight in learnt}
    layers = {name: weight.half().contiguous() for name, weight in scaled.items()}
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=layers)


def fuse_adapter(unet: UNet2DConditionModel, file: Path) -> None:
    """Add what an adapter learnt to a U-Net's weights, so that it costs nothing from here on.

    Files of diffusers, PEFT and kohya's scripts are read. Raises SetupError for another file, one of another U-Net,
    and one that would change more than the U-Net.
    """
    if not file.is_file() or file.suffix != ".safetensors":
        raise SetupError(f"There is no adapter at {file}: name a file *.safetensors, as train_priors makes it.")
    try:
        _load(unet, file)
        unet.fuse_lora(safe_fusing=True)  # which looks for numbers that are none
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise SetupError(f"The adapter {file} cannot be loaded into this U-Net: {error}") from error
    unet.unload_lora()


def _load(unet: UNet2DConditionModel, file: Path) -> None:
    """Put all layers of an adapter beside those of the U-Net; diffusers itself only warns of what fits nowhere."""
    from diffusers.loaders import StableDiffusionLoraLoaderMixin
    from peft import get_peft_model_state_dict

    layers, alphas, said = StableDiffusionLoraLoaderMixin.lora_state_dict(
        str(file), local_files_only=True, return_lora_metadata=True
    )
    others = sorted({name.split(".")[0] for name in layers if not name.startswith("unet.")})
    if others or not layers:
        raise SetupError(
            f"The adapter {file} has layers for {', '.join(others) or 'nothing'}, and only a U-Net can take some."
        )
    StableDiffusionLoraLoaderMixin.load_lora_into_unet(layers, alphas, unet, NAME, metadata=said)
    taken = len(get_peft_model_state_dict(unet, adapter_name=NAME))
    if taken != len(layers):
        raise SetupError(
            f"The adapter {file} is of another network: of its {len(layers)} layers {taken} fit this U-Net."
        )
