"""Scores of products whose true shape and look are known. No alignment beyond the known cameras."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor


def psnr(images: Tensor, targets: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio: 10 log10(1 / MSE).

    Without ``where`` the white background counts, so a small product scores higher. Compare such figures only between
    renders of the same product in the same frame.

    Args:
        images: Pictures on white, [B, 3, H, W] in [0, 1].
        targets: What they should be, of the same shape.
        where: The pixels that count, [B, 1, H, W] bool; by default all.

    Returns:
        [B], in dB; infinite for identical pictures.

    Example:
        >>> psnr(torch.full((1, 3, 2, 2), 0.9), torch.ones(1, 3, 2, 2)).round().tolist()
        [20.0]
    """
    squared = (images - targets).square()
    if where is None:
        where = torch.ones_like(squared[:, :1], dtype=torch.bool)
    error = (squared * where).flatten(1).sum(dim=1) / (where.flatten(1).sum(dim=1) * images.shape[1])
    return -10 * error.log10()


def silhouette_iou(opacity: Tensor, target_opacity: Tensor) -> Tensor:
    """Intersection over union of silhouettes: opacity >= 0.5, the paper's Eq. 5.

    Args:
        opacity: [B, 1, H, W] in [0, 1].
        target_opacity: The true one, of the same shape.

    Returns:
        [B], in [0, 1]. Two empty silhouettes agree: 1.

    Example:
        >>> silhouette_iou(torch.tensor([[[[1.0, 1.0]]]]), torch.tensor([[[[1.0, 0.0]]]])).tolist()
        [0.5]
    """
    mask, target = (opacity >= 0.5).flatten(1), (target_opacity >= 0.5).flatten(1)
    intersection, union = (mask & target).sum(dim=1), (mask | target).sum(dim=1)
    return ((intersection + (union == 0)) / union.clamp(min=1)).float()


def chamfer_distance(points: NDArray[np.floating], target_points: NDArray[np.floating]) -> float:
    """Symmetric mean distance to the nearest neighbour: (mean_p min_q |p - q| + mean_q min_p |p - q|) / 2, not squared.

    Args:
        points: [N, 3].
        target_points: [M, 3], in the same unit.

    Returns:
        The distance, in that unit.

    Raises:
        ValueError: A set is empty.

    Example:
        >>> chamfer_distance(np.zeros((1, 3)), np.array([[0.0, 0.0, 2.0]]))
        2.0
    """
    if len(points) == 0 or len(target_points) == 0:
        raise ValueError("the Chamfer distance of an empty point set is not defined")
    forth, _ = cKDTree(target_points).query(points)
    back, _ = cKDTree(points).query(target_points)
    return float(np.mean(forth) + np.mean(back)) / 2


def f_score(points: NDArray[np.floating], target_points: NDArray[np.floating], distance: float) -> float:
    """The harmonic mean of precision and recall of a point set against another (Tatarchenko et al. 2019).

    Precision is the share of the points that have a target within the distance; recall, the share of the targets that
    have a point.

    Args:
        points: [N, 3].
        target_points: [M, 3], in the same unit.
        distance: How near counts, in that unit.

    Returns:
        The score, in [0, 1].

    Example:
        >>> f_score(np.zeros((2, 3)), np.array([[0.0, 0.0, 0.1]]), distance=0.2)
        1.0
    """
    precise = float(np.mean(cKDTree(target_points).query(points)[0] < distance))
    recalled = float(np.mean(cKDTree(points).query(target_points)[0] < distance))
    return 2 * precise * recalled / (precise + recalled) if precise + recalled else 0.0
