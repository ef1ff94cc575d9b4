"""Files of network weights: opened without running what they hold, compared with a hash, put on their device."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.files import sha256_of

Network = TypeVar("Network", bound=nn.Module)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights, on the CPU: safetensors, or a pickle of nothing but plain weights.

    Raises SetupError for a file that is neither: a pickle that wants to run code is not opened.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise SetupError(
            f"The file '{path}' holds no plain weights, or not all of them: download it again. ({error})"
        ) from error
    if not isinstance(tensors, dict):
        raise SetupError(f"The file '{path}' holds a {type(tensors).__name__}, not weights by name.")
    return tensors


def check_sha256(path: Path, expected: str) -> None:
    """Raise SetupError unless the file's SHA-256 begins with ``expected`` (hexadecimal digits)."""
    found = sha256_of(path)
    if not found.startswith(expected.lower()):
        raise SetupError(
            f"The file '{path}' has the SHA-256 {found}, but {expected} was expected: "
            "download it again, or correct the hash."
        )


def on_device(network: Network, device: torch.device | str) -> Network:
    """The network on a device, as PyTorch names it. Raises SetupError where there is none, or too little room."""
    try:
        return network.to(device)
    except torch.cuda.OutOfMemoryError as error:
        raise SetupError(f"The device '{device}' has no room for the weights: {error}") from error
    except (RuntimeError, AssertionError) as error:  # PyTorch built without CUDA asserts
        raise SetupError(f"The weights cannot go to the device '{device}': {error}") from error
