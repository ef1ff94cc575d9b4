"""Contextual distance (Mechrez et al., 2018): do two pictures show the same things, wherever in the frame?"""

from __future__ import annotations

import torch
from torch import Tensor

#: Keeps the ratio of distances and the logarithm finite (Mechrez et al., eq. 2).
EPSILON = 1e-5


def contextual_similarity(features: Tensor, target_features: Tensor, *, bandwidth: float = 0.5) -> Tensor:
    """CX(X, Y) of Mechrez et al. (2018), Eq. 2-4.

    The order of the arguments matters: both are centred by the mean of Y, the distances of each x_i are measured
    against its nearest y, and the final mean runs over the y_j.

    Args:
        features: X, of the rendered view, [C, H, W].
        target_features: Y, of the photo, [C, H', W'].
        bandwidth: h of the paper. A larger one tells features apart less sharply.

    Returns:
        A scalar in (0, 1]: 1 where every feature of the target has a rendered one of its own.

    Example:
        >>> features = torch.eye(4).reshape(4, 2, 2)
        >>> contextual_similarity(features, features).item() > 0.99
        True
    """
    x, y = features.flatten(1), target_features.flatten(1)  # [C, N], [C, M]
    centre = y.mean(dim=1, keepdim=True)
    x = torch.nn.functional.normalize(x - centre, dim=0)
    y = torch.nn.functional.normalize(y - centre, dim=0)
    distance = 1 - x.T @ y  # [N, M]
    relative = distance / (distance.amin(dim=1, keepdim=True) + EPSILON)
    affinity = torch.softmax((1 - relative) / bandwidth, dim=1)  # over the y_j
    return affinity.amax(dim=0).mean()


def contextual_distance(features: Tensor, target_features: Tensor, *, bandwidth: float = 0.5) -> Tensor:
    """-log CX(X, Y). Not symmetric.

    Args:
        features: As in `contextual_similarity`.
        target_features: As there.
        bandwidth: As there.

    Returns:
        A scalar; less is better.
    """
    return -torch.log(contextual_similarity(features, target_features, bandwidth=bandwidth) + EPSILON)
