"""Scores that see details, where PSNR prefers a blur."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import gaussian_blur

from mpod_pipeline.metrics.details import feature_distance, layer_distance, sharpness
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.metrics.ground_truth import psnr


def stripes(shift: int = 0) -> Tensor:
    """Black and white, 4 pixels each, [1, 3, 64, 64]."""
    columns = ((torch.arange(64) + shift) // 4 % 2).float()
    return columns.expand(1, 3, 64, 64).contiguous()


def test_a_layers_distance_is_of_directions() -> None:
    features = torch.tensor([[3.0, 0.0], [0.0, 2.0]])[..., None, None].expand(-1, -1, 4, 4)
    assert layer_distance(features, 5 * features).tolist() == [0.0, 0.0]
    assert layer_distance(features, features.flip(1)).tolist() == pytest.approx([2.0, 2.0])  # at right angles
    half = torch.cat([features[..., :2], features.flip(1)[..., :2]], dim=-1)
    assert layer_distance(features, half).tolist() == pytest.approx([1.0, 1.0])
    assert feature_distance([features] * 3, [half] * 3).tolist() == pytest.approx([3.0, 3.0])


def test_it_prefers_a_detail_beside_its_place_to_a_blur() -> None:
    """And PSNR does not."""
    truth = stripes()
    moved, blurred = stripes(2), gaussian_blur(truth, [15, 15], [5.0, 5.0])
    assert psnr(blurred, truth) > psnr(moved, truth) + 2
    layers = load_efficientnet_lite0().layers
    of_moved, of_blurred = (feature_distance(layers(x), layers(truth)) for x in (moved, blurred))
    assert of_moved < 0.9 * of_blurred
    assert feature_distance(layers(truth), layers(truth)).item() == 0.0


def test_sharpness_is_the_energy_of_gradients_inside_the_product() -> None:
    truth, opacity = stripes(), torch.zeros(1, 1, 64, 64)
    opacity[..., 8:56, 8:56] = 1
    assert sharpness(truth, truth, opacity, opacity) == 1.0
    assert sharpness(truth * 0.5, truth, opacity, opacity) == pytest.approx(0.25)
    assert sharpness(gaussian_blur(truth, [15, 15], [5.0, 5.0]), truth, opacity, opacity) < 0.1
    outside = torch.rand(1, 3, 64, 64) * (1 - opacity) + truth * opacity
    assert sharpness(outside, truth, opacity, opacity) == 1.0
    smaller = torch.zeros_like(opacity)
    smaller[..., 16:48, 16:48] = 1
    cut_off = truth * smaller + 1 - smaller  # its own edge is no detail
    assert sharpness(cut_off, truth, smaller, opacity) == 1.0
