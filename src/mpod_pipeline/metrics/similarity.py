"""Scores on the embeddings of views: likeness to the photo, and of the views among themselves."""

from __future__ import annotations

import torch
from torch import Tensor


def semantic_similarity(photo_embedding: Tensor, view_embeddings: Tensor) -> Tensor:
    """Mean cosine of the photo's embedding against those of views. With a CLIP encoder this is the paper's CLIP score.

    Args:
        photo_embedding: [D].
        view_embeddings: [N, D].

    Returns:
        A scalar in [-1, 1].

    Example:
        >>> semantic_similarity(torch.ones(4), torch.ones(2, 4)).item()
        1.0
    """
    return torch.nn.functional.cosine_similarity(photo_embedding[None], view_embeddings, dim=1).mean()


def multi_view_consistency(view_embeddings: Tensor) -> Tensor:
    """MVC: mean cosine over all pairs of novel views.

    Args:
        view_embeddings: [N, D].

    Returns:
        A scalar in [-1, 1].

    Raises:
        ValueError: There are fewer than two views.

    Example:
        >>> multi_view_consistency(torch.eye(3)).item()
        0.0
    """
    count = len(view_embeddings)
    if count < 2:
        raise ValueError("multi-view consistency needs at least two views")
    unit = torch.nn.functional.normalize(view_embeddings, dim=1)
    first, second = torch.triu_indices(count, count, offset=1, device=unit.device)
    return (unit @ unit.T)[first, second].mean()
