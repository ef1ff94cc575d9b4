"""Mask Rectified Cross-Attention (paper section 3.3, Eq. 6-8).

In every cross-attention layer the scores of the learned token's column become -inf at the pixels that lie outside the
outline mask; softmax and values go on as usual. So the token can paint the product only where the product is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import isqrt
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.priors.attention import AttentionProcessor


@dataclass(frozen=True)
class TokenMask:
    """Where the learned token may act.

    mask: [B, 1, H, W], 1 inside the outline. columns: [L] bool, the rectified columns of the prompt.
    The U-Net's batch is [unconditional B | conditional B]: only the second half is rectified.
    """

    mask: Tensor
    columns: Tensor

    def bias(self, queries: int, keys: int, dtype: torch.dtype) -> Tensor:
        """Additive attention bias [2B, 1, queries, keys]: -inf for masked columns outside the outline, else 0.

        A layer's pixel is inside where any part of the outline falls on it: shrinking must not lose thin parts.
        """
        side = isqrt(queries)
        inside = F.adaptive_max_pool2d(self.mask.float(), (side, side)).flatten(2) > 0.5  # [B, 1, queries]
        outside = ~inside[..., None] & self.columns[:keys]  # [B, 1, queries, keys]
        rectified = torch.zeros(outside.shape, dtype=dtype, device=outside.device).masked_fill(outside, float("-inf"))
        return torch.cat([torch.zeros_like(rectified), rectified])


class RectifiedAttention(AttentionProcessor):
    """Cross-attention with the token mask's bias on the scores, while there is a mask."""

    def __init__(self, token_mask: TokenMask | None = None) -> None:
        self.token_mask = token_mask

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        if self.token_mask is None:
            return super().attend(query, key, value, scale)
        bias = self.token_mask.bias(query.shape[2], key.shape[2], query.dtype)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)


@contextmanager
def rectified_attention(unet: UNet2DConditionModel, token_mask: TokenMask | None) -> Iterator[None]:
    """Rectify all cross-attention layers of ``unet`` for the moment; nothing changes without a mask."""
    processor = rectifiable(unet)
    processor.token_mask = token_mask
    try:
        yield
    finally:
        processor.token_mask = None


def rectifiable(unet: UNet2DConditionModel) -> RectifiedAttention:
    """The one processor of all cross-attention layers of ``unet``, set at the first call.

    It stays, so that a compiled U-Net stays valid from one mask to the next.
    """
    layers: Iterator[Any] = (module for name, module in unet.named_modules() if name.endswith(".attn2"))
    first = next(layers)
    if not isinstance(first.processor, RectifiedAttention):
        first.processor = RectifiedAttention()
        # Not by diffusers' `set_attn_processor`, which takes as long as a small U-Net's own work.
        for layer in layers:
            layer.processor = first.processor
    return first.processor
