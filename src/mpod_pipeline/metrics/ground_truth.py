"""Scores of products whose true shape and look are known. No alignment beyond the known cameras."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor


def psnr(images: Tensor, targets: Tensor, where: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB of images [B, 3, H, W] in [0, 1] on white; [B].

    10 log10(1 / MSE); infinite for identical images. The error's mean is over the pixels ``where`` [B, 1, H, W] bool
    says so, or over the full frame. Then the white background counts, so a small product scores higher: compare such
    figures only between renders of the same product at the same frame.
    """
    squared = (images - targets).square()
    if where is None:
        where = torch.ones_like(squared[:, :1], dtype=torch.bool)
    error = (squared * where).flatten(1).sum(dim=1) / (where.flatten(1).sum(dim=1) * images.shape[1])
    return -10 * error.log10()


def silhouette_iou(opacity: Tensor, target_opacity: Tensor) -> Tensor:
    """Intersection over union of silhouettes (opacity >= 0.5, the paper's eq. 5), each [B, 1, H, W]; [B].

    Two empty silhouettes agree: 1.
    """
    mask, target = (opacity >= 0.5).flatten(1), (target_opacity >= 0.5).flatten(1)
    intersection, union = (mask & target).sum(dim=1), (mask | target).sum(dim=1)
    return ((intersection + (union == 0)) / union.clamp(min=1)).float()


def chamfer_distance(points: NDArray[np.floating], target_points: NDArray[np.floating]) -> float:
    """Symmetric mean nearest-neighbour distance of two point sets [N, 3] and [M, 3], in their own unit.

    (mean_p min_q |p - q| + mean_q min_p |p - q|) / 2: plain distances, not squared.
    """
    if len(points) == 0 or len(target_points) == 0:
        raise ValueError("the Chamfer distance of an empty point set is not defined")
    forth, _ = cKDTree(target_points).query(points)
    back, _ = cKDTree(points).query(target_points)
    return float(np.mean(forth) + np.mean(back)) / 2


def f_score(points: NDArray[np.floating], target_points: NDArray[np.floating], distance: float) -> float:
    """The harmonic mean of precision and recall of a point set [N, 3] against another [M, 3]: the shares of either that
    have a point of the other within a distance, in their own unit (Tatarchenko et al. 2019).
    """
    precise = float(np.mean(cKDTree(target_points).query(points)[0] < distance))
    recalled = float(np.mean(cKDTree(points).query(target_points)[0] < distance))
    return 2 * precise * recalled / (precise + recalled) if precise + recalled else 0.0
