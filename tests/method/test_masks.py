"""Outline masks against closed forms (paper Eq. 3-5)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.method.masks import MaskParameters, export_masks, mask_cameras
from mpod_pipeline.rendering.cameras import Cameras
from tests.method.quick import RADIUS, SIGMA, Ball


def test_opacity_is_that_of_the_chord_and_the_mask_its_threshold() -> None:
    p = MaskParameters(azimuths=4, elevations_deg=(0.0, 30.0), resolution=32, step_size=0.005)
    masks = export_masks(Ball(), p)
    assert masks.opacity.shape == masks.mask.shape == (8, 32, 32)
    rays_o, rays_d = Cameras.at(90.0, 30.0).rays(32, 32)
    nearest = torch.linalg.cross(rays_o, rays_d).norm(dim=-1)[0]  # distance of the ray from the centre
    chord = 2 * (RADIUS**2 - nearest**2).clamp_min(0).sqrt()
    expected = (1 - torch.exp(-SIGMA * chord)).numpy()
    # One step of 0.005 at either end of the chord: an error of at most 1 - exp(-3 * 0.01) = 0.03.
    np.testing.assert_allclose(masks.opacity[5], expected, atol=0.03)
    assert (masks.azimuth_deg[5], masks.elevation_deg[5]) == (90.0, 30.0)
    np.testing.assert_array_equal(masks.mask, masks.opacity >= 0.5)


def test_the_cameras_are_recorded() -> None:
    cameras = mask_cameras(MaskParameters(azimuths=3, elevations_deg=(0.0, 20.0)))
    assert cameras.azimuth_deg.tolist() == [0, 120, 240, 0, 120, 240]
    assert cameras.elevation_deg.tolist() == [0, 0, 0, 20, 20, 20]


def test_an_empty_outline_is_said() -> None:
    with pytest.raises(ProductError, match="empty"):
        export_masks(Ball(0.0), MaskParameters(azimuths=2, resolution=8))
