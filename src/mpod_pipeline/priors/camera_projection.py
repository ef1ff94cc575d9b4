"""Joins what the image encoder saw with where the camera went (the folder ``clip_camera_projection``)."""

from __future__ import annotations

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor


class CLIPCameraProjection(ModelMixin, ConfigMixin):
    """A linear layer over [image token | pose], per token; layout of ``ashawkey/zero123-xl-diffusers``.

    num_tokens: how many tokens of the photo the U-Net attends to. 1 (the full-size models): the image encoder's
    pooled, projected embedding. More: its patch tokens, each joined with the pose.
    """

    @register_to_config
    def __init__(self, embedding_dim: int = 768, additional_embeddings: int = 4, num_tokens: int = 1) -> None:
        super().__init__()
        self.embedding_dim = embedding_dim
        self.additional_embeddings = additional_embeddings
        self.num_tokens = num_tokens
        self.proj = torch.nn.Linear(embedding_dim + additional_embeddings, embedding_dim)

    def forward(self, tokens: Tensor, pose: Tensor) -> Tensor:
        """tokens [B, T, D] and pose [B, P] -> [B, T, D]."""
        pose = pose[:, None].expand(-1, tokens.shape[1], -1).to(tokens.dtype)
        return self.proj(torch.cat([tokens, pose], dim=-1))
