"""Attention as ``AttnProcessor2_0`` of diffusers computes it in a U-Net's transformers, with the middle left open."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch.nn import functional as F


class AttentionProcessor:
    """Projects to queries, keys and values, attends, and projects back."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if attn.norm_cross:
            context = attn.norm_encoder_hidden_states(context)
        batch, queries, _ = hidden_states.shape

        def heads(x: Tensor) -> Tensor:
            return x.view(batch, x.shape[1], attn.heads, -1).transpose(1, 2)

        query, key, value = (heads(x) for x in (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context)))
        attended = self.attend(query, key, value, attn.scale)
        attended = attended.transpose(1, 2).reshape(batch, queries, -1)
        return attn.to_out[1](attn.to_out[0](attended))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """Queries [B, heads, Q, D], keys and values [B, heads, K, D] -> [B, heads, Q, D]."""
        return F.scaled_dot_product_attention(query, key, value, scale=scale)


class Float32Attention(AttentionProcessor):
    """For training under autocast on a CPU: with narrow heads PyTorch's gradient of attention takes three times as
    long in bfloat16 as in float32.
    """

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):
            return super().attend(query.float(), key.float(), value.float(), scale)
