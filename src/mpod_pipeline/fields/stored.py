"""What fields are on disk: tensors in one safetensors file, with their backend, device and settings as its header."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.rendering.backend import BACKENDS, Backend


@dataclass(frozen=True)
class Stored:
    """What goes to disk, all on the CPU: it can be sent to a machine that has no GPU, and saved there.

    kind: the name of the file's one entry of metadata, the header. (safetensors writes several in random order, and
    equal content shall be equal files.)
    """

    kind: str
    header: str
    tensors: dict[str, Tensor]

    @classmethod
    def of(
        cls, kind: str, format_version: int, backend: Backend, settings: Parameters, tensors: dict[str, Tensor]
    ) -> Stored:
        header = {
            "format_version": format_version,
            "backend": backend,
            "device": next(iter(tensors.values())).device.type,
            "settings": settings.model_dump(mode="json"),
        }
        on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        return cls(kind, json.dumps(header), on_cpu)

    def save(self, path: Path) -> None:
        save_file(self.tensors, path, {self.kind: self.header})


@contextmanager
def read_or_told(what: str, remedy: str) -> Iterator[None]:
    """Let what is missing, damaged or of another version become a ProductError: it is to be made again."""
    try:
        yield
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ProductError(f"The {what} cannot be read ({error}); {remedy}.") from error


def read_stored(path: Path, kind: str, format_version: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header and the tensors of a file of this kind and version.

    Raises OSError, SafetensorError, KeyError, ValueError or RuntimeError for any other file.
    """
    with safe_open(path, framework="pt") as file:
        header = json.loads((file.metadata() or {})[kind])
        if header["format_version"] != format_version:
            raise RuntimeError(f"format version {header['format_version']}, not {format_version}")
        if header["backend"] not in BACKENDS:
            raise RuntimeError(f"unknown backend {header['backend']!r}")
        return header, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@torch.no_grad()
def fill(own: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    """Copy stored tensors into those of a field. Raises KeyError or RuntimeError where they are others."""
    for name, tensor in own.items():
        if stored[name].shape != tensor.shape:
            raise RuntimeError(f"{name} has the shape {tuple(stored[name].shape)}, not {tuple(tensor.shape)}")
        tensor.copy_(stored[name])
