"""Scores that see details: PSNR prefers a blur to a detail a pixel beside its place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, normalize

#: Pixels that an edge of the silhouette may reach into a picture.
RIM = 2


def feature_distance(features: Sequence[Tensor], target_features: Sequence[Tensor]) -> Tensor:
    """How different pictures look: LPIPS (Zhang et al. 2018) without its learned weights of channels.

    At each place features are normalised over channels. Their squared differences are summed over channels, averaged
    over places, and summed over layers.

    Args:
        features: Maps [B, C_k, h_k, w_k] of K early layers of a network.
        target_features: Those of the true pictures.

    Returns:
        [B]; less is better.

    Example:
        >>> layer = torch.rand(1, 8, 4, 4)
        >>> feature_distance([layer], [layer]).tolist()
        [0.0]
    """
    layers = zip(features, target_features, strict=True)
    return torch.stack([layer_distance(a, b) for a, b in layers]).sum(dim=0)


def layer_distance(features: Tensor, target: Tensor) -> Tensor:
    """The part of one layer, [B], of its maps [B, C, h, w]."""
    a, b = normalize(features, dim=1, eps=1e-6), normalize(target, dim=1, eps=1e-6)
    return (a - b).square().sum(dim=1).mean(dim=(1, 2))


def sharpness(images: Tensor, targets: Tensor, opacity: Tensor, target_opacity: Tensor) -> float:
    """Gradient energy of pictures relative to that of their targets.

    It is taken over all pictures at once, inside both silhouettes. The outline's own edge, the strongest of all, is no
    detail.

    Args:
        images: [B, 3, H, W] in [0, 1].
        targets: What they should be, of the same shape.
        opacity: Of the pictures, [B, 1, H, W] in [0, 1].
        target_opacity: Of the targets.

    Returns:
        1 where it is right; less is a blur.

    Example:
        >>> picture, opaque = torch.rand(1, 3, 16, 16), torch.ones(1, 1, 16, 16)
        >>> sharpness(picture, picture, opaque, opaque)
        1.0
    """
    inside = 1 - max_pool2d((torch.minimum(opacity, target_opacity) < 0.99).float(), 2 * RIM + 1, 1, RIM)
    return float(gradient_energy(images, inside) / gradient_energy(targets, inside).clamp_min(1e-12))


def gradient_energy(images: Tensor, inside: Tensor) -> Tensor:
    """Sum of the squared differences of neighbours of images [B, C, H, W], both ``inside`` [B, 1, H, W]; a scalar."""
    total = images.new_zeros(())
    for dim in (2, 3):
        length = images.shape[dim] - 1
        both = inside.narrow(dim, 1, length) * inside.narrow(dim, 0, length)
        total = total + (images.diff(dim=dim).square() * both).sum()
    return total
