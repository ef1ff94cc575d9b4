from math import inf, log10

import numpy as np
import pytest
import torch

from mpod_pipeline.metrics.ground_truth import chamfer_distance, psnr, silhouette_iou


def test_psnr_of_a_constant_error() -> None:
    target = torch.full((3, 3, 8, 8), 0.5)
    images = target.clone()
    images[1] += 0.1
    images[2, :, :4] -= 0.1  # half of the frame: the mean squared error halves
    scores = psnr(images, target)
    assert scores[0] == inf
    # float32: 0.6 - 0.5 is 0.1 to 1e-7, so decibels to about 1e-5.
    assert scores[1].item() == pytest.approx(20, abs=1e-4)
    assert scores[2].item() == pytest.approx(20 + 10 * log10(2), abs=1e-4)


def test_silhouette_iou_counts_pixels_of_half_opacity() -> None:
    opacity, target = torch.zeros(3, 1, 4, 4), torch.zeros(3, 1, 4, 4)
    opacity[0, :, :2], target[0, :, 1:3] = 0.5, 0.9  # 8 against 8 pixels, 4 shared: 4 / 12
    opacity[1, :, :2], target[1, :, 1:3] = 0.49, 0.9  # nothing reaches a half
    torch.testing.assert_close(silhouette_iou(opacity, target), torch.tensor([1 / 3, 0.0, 1.0]))


def test_chamfer_is_the_mean_of_both_directions() -> None:
    points = np.array([[0.0, 0, 0], [1, 0, 0]])
    target = np.array([[0.0, 0, 0], [1, 0, 0], [1, 0, 3]])
    # forth: 0, 0 -> 0; back: 0, 0, 3 -> 1; their mean is a half.
    assert chamfer_distance(points, target) == pytest.approx(0.5)
    assert chamfer_distance(target, points) == pytest.approx(0.5)
    assert chamfer_distance(points, points) == 0


def test_chamfer_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        chamfer_distance(np.zeros((0, 3)), np.zeros((1, 3)))


def test_psnr_where_it_is_asked_for() -> None:
    """Off by 0.1 in a quarter of the frame, which is white elsewhere."""
    truth = torch.ones(1, 3, 8, 8)
    image = truth.clone()
    image[..., :4, :4] = 0.9
    where = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    where[..., :4, :4] = True
    assert psnr(image, truth, where).item() == pytest.approx(20.0, abs=1e-4)
    assert psnr(image, truth).item() == pytest.approx(20.0 + 10 * np.log10(4), abs=1e-4)
