from math import cos, pi

import pytest
import torch

from mpod_pipeline.metrics.similarity import multi_view_consistency, semantic_similarity


def on_circle(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_similarity_is_the_mean_cosine_to_the_photo() -> None:
    photo = 5 * on_circle(0)[0]
    views = on_circle(0, 60, 90) * torch.tensor([[1.0], [2.0], [3.0]])
    assert semantic_similarity(photo, views).item() == pytest.approx((1 + 0.5 + 0) / 3)


def test_consistency_is_the_mean_cosine_over_all_pairs() -> None:
    views = on_circle(0, 60, 180) * torch.tensor([[1.0], [2.0], [3.0]])
    expected = (cos(pi / 3) + cos(pi) + cos(2 * pi / 3)) / 3
    assert multi_view_consistency(views).item() == pytest.approx(expected)
    assert multi_view_consistency(on_circle(10, 10, 10)).item() == pytest.approx(1)


def test_one_view_has_no_consistency() -> None:
    with pytest.raises(ValueError, match="two views"):
        multi_view_consistency(on_circle(10))
