from math import exp, log

import pytest
import torch

from mpod_pipeline.metrics.contextual import EPSILON, contextual_distance, contextual_similarity


def feature_map(*vectors: tuple[float, ...]) -> torch.Tensor:
    """Vectors as a map [C, 1, N]."""
    return torch.tensor(vectors, dtype=torch.float64).T[:, None]


def test_equal_maps_of_opposite_features_by_hand() -> None:
    # Y = {(1, 0), (-1, 0)}, mean 0: d = [[0, 2], [2, 0]]; the smallest distance of each row is 0, so
    # relative = d / 1e-5 = [[0, 2e5], ...] and w is one-hot: CX = 1.
    maps = feature_map((1, 0), (-1, 0))
    assert contextual_similarity(maps, maps).item() == pytest.approx(1, abs=1e-12)
    assert contextual_distance(maps, maps).item() == pytest.approx(-log(1 + EPSILON), abs=1e-12)


def test_worked_by_hand_with_an_off_centre_target() -> None:
    # Y = {(3, 1), (1, 1)}: mean (2, 1), centred (1, 0), (-1, 0). X = {(2, 2)} centred by Y's mean: (0, 1).
    # d = [[1, 1]], relative = 1 / (1 + 1e-5) for both, w = [1/2, 1/2]; CX = mean_j 1/2 = 1/2.
    similarity = contextual_similarity(feature_map((2, 2)), feature_map((3, 1), (1, 1)))
    assert similarity.item() == pytest.approx(0.5, abs=1e-12)


def test_bandwidth_and_softmax_by_hand() -> None:
    # Centred Y = {(1, 0), (-1, 0)}; X = {(3, 4), (-3, 4)}: cos = .6, -.6 and the reverse; d = .4, 1.6.
    # By symmetry each y finds its own x, with the larger of the two weights.
    relative = [0.4 / (0.4 + EPSILON), 1.6 / (0.4 + EPSILON)]
    target = feature_map((1, 0), (-1, 0))
    for bandwidth in (0.1, 0.5):
        weights = [exp((1 - r) / bandwidth) for r in relative]
        similarity = contextual_similarity(feature_map((3, 4), (-3, 4)), target, bandwidth=bandwidth)
        assert similarity.item() == pytest.approx(weights[0] / sum(weights), abs=1e-12)


def test_order_of_arguments_matters() -> None:
    one, other = feature_map((3, 4)), feature_map((1, 0), (-1, 0))
    assert contextual_similarity(one, other).item() == pytest.approx(0.5, abs=1e-12)
    # Y = {(3, 4)} is centred to zero: every distance is 1, the single y takes all of each row: CX = 1.
    assert contextual_similarity(other, one).item() == pytest.approx(1, abs=1e-12)


def test_where_in_the_frame_does_not_matter() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(8, 5, 5, generator=generator, dtype=torch.float64)
    target = torch.randn(8, 4, 6, generator=generator, dtype=torch.float64)
    shuffled = features.flatten(1)[:, torch.randperm(25, generator=generator)].reshape(8, 5, 5)
    expected = contextual_distance(features, target)
    torch.testing.assert_close(contextual_distance(shuffled, target), expected)
    assert expected > contextual_distance(target, target)
