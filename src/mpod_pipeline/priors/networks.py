"""What is asked of a network of diffusers at every step."""

from __future__ import annotations

import torch
from torch import nn


def dtype_of(network: nn.Module) -> torch.dtype:
    """The precision of a network's weights. The ``dtype`` of diffusers walks through all modules at each call, which
    takes longer than some of the work.
    """
    return next(network.parameters()).dtype


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are, without the walk of diffusers' ``device``."""
    return next(network.parameters()).device
