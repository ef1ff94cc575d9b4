"""The package tiny-cuda-nn, which makes hash encodings and networks on a CUDA device."""

from __future__ import annotations

from typing import Any

import torch

from mpod_pipeline.base.errors import SetupError


def load_tinycudann(part: str) -> Any:
    """The package `tinycudann`. Raises SetupError where it or a device is absent, for ``part`` of the field."""
    if not torch.cuda.is_available():
        raise SetupError(f"tinycudann, for the {part}, needs a CUDA device; choose the backend 'torch'.")
    try:
        import tinycudann
    except (ImportError, OSError) as error:
        raise SetupError(
            f"The backend 'cuda_packages' makes the {part} with tinycudann, built for this GPU ({error}): see "
            "docs/gpu.md, or choose the backend 'torch', which does not need it."
        ) from error
    return tinycudann
