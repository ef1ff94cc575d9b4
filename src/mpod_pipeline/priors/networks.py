"""What is asked of a network of diffusers at every step."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mpod_pipeline.base.threads import side_by_side


def dtype_of(network: nn.Module) -> torch.dtype:
    """The precision of a network's weights. The ``dtype`` of diffusers walks through all modules at each call, which
    takes longer than some of the work.
    """
    return next(network.parameters()).dtype


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are, without the walk of diffusers' ``device``."""
    return next(network.parameters()).device


#: From so many pictures on, PyTorch's own threads share a small network's operations as well as `in_parts`.
LARGE_BATCH = 8


def in_parts(ask: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """What a network answers to a batch, inputs [B, ...] each; a small one is answered in parts on a CPU, side by side.

    A small network's operations are too short for PyTorch's own threads. With two, the guided answer to one picture
    takes two thirds of one thread's time in parts, and more than that time without.
    """
    count = len(batch[0])
    parts = min(torch.get_num_threads(), count) if batch[0].device.type == "cpu" and count < LARGE_BATCH else 1
    if parts == 1:
        return ask(*batch)
    chunks = zip(*(each.chunk(parts) for each in batch), strict=True)
    return torch.cat(side_by_side(lambda chunk: ask(*chunk), list(chunks)))
