"""Whose kernels render, and on which device: one choice for fields, rays and meshes.

Three backends make the same four operations (hash encoding, marching and compositing rays, marching tetrahedra,
rasterising):

- ``numba``: our own kernels, for the CPU.
- ``torch``: plain PyTorch, for any device. What a GPU does is so tested on a CPU.
- ``cuda_packages``: tinycudann, nerfacc and kaolin, for CUDA.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch

from mpod_pipeline.base.errors import SetupError

Backend = Literal["numba", "torch", "cuda_packages"]
#: The backends by name.
BACKENDS: tuple[Backend, ...] = get_args(Backend)


def require_device(name: torch.device | str) -> torch.device:
    """The device of a name. Raises SetupError where there is none."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise SetupError(f"The device is cpu or cuda, not {str(name)!r}.") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise SetupError(
            f"The device '{device}' is asked for, but PyTorch sees no CUDA device here: see docs/gpu.md, or run with "
            "--params=device=cpu."
        )
    return device


def choose_backend(backend: Backend | None, device: torch.device | str) -> Backend:
    """The backend for a device; where none is named, ``numba`` on the CPU and ``torch`` on any other device.

    Raises SetupError for a backend that is unknown or does not work on the device, and where the device is absent.
    """
    device = require_device(device)
    if backend is None:
        return "numba" if device.type == "cpu" else "torch"
    if backend not in BACKENDS:
        raise SetupError(f"The backend is one of {', '.join(BACKENDS)}, not {backend!r}.")
    needed = {"numba": "cpu", "torch": device.type, "cuda_packages": "cuda"}[backend]
    if device.type != needed:
        raise SetupError(
            f"The backend '{backend}' needs {'a CUDA device' if needed == 'cuda' else 'the CPU'}, and the device is "
            f"'{device}': choose the backend 'torch', which works on any device, or set none."
        )
    return backend
