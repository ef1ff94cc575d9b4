"""CIEDE2000 against the pairs that its authors published (Sharma et al. 2005, table 1)."""

from __future__ import annotations

import pytest
import torch

from mpod_pipeline.metrics.colour import ciede2000, srgb_to_lab

PAIRS = [
    ((50.0, 2.6772, -79.7751), (50.0, 0.0, -82.7485), 2.0425),
    ((50.0, -1.1848, -84.8006), (50.0, 0.0, -82.7485), 1.0000),
    ((50.0, 0.0, 0.0), (50.0, -1.0, 2.0), 2.3669),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0009), 7.1792),
    ((50.0, 2.49, -0.001), (50.0, -2.49, 0.0011), 7.2195),
    ((50.0, -0.001, 2.49), (50.0, 0.0009, -2.49), 4.8045),
    ((50.0, 2.5, 0.0), (50.0, 0.0, -2.5), 4.3065),
    ((50.0, 2.5, 0.0), (73.0, 25.0, -18.0), 27.1492),
    ((50.0, 2.5, 0.0), (58.0, 24.0, 15.0), 19.4535),
    ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
    ((63.0109, -31.0961, -5.8663), (62.8187, -29.7946, -4.0864), 1.2630),
    ((22.7233, 20.0904, -46.6940), (23.0331, 14.9730, -42.5619), 2.0373),
    ((90.8027, -2.0831, 1.4410), (91.1528, -1.6435, 0.0447), 1.4441),
    ((6.7747, -0.2908, -2.4247), (5.8714, -0.0985, -2.2286), 0.6377),
    ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
]


@pytest.mark.parametrize(("one", "other", "difference"), PAIRS)
def test_the_published_pairs(one: tuple, other: tuple, difference: float) -> None:
    one, other = torch.tensor(one, dtype=torch.float64), torch.tensor(other, dtype=torch.float64)
    assert ciede2000(one, other).item() == pytest.approx(difference, abs=1e-4)
    assert ciede2000(other, one).item() == pytest.approx(difference, abs=1e-4)


def test_known_colours_in_lab() -> None:
    white, red, grey = srgb_to_lab(torch.tensor([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0], [0.5, 0.5, 0.5]])).tolist()
    assert white == pytest.approx([100, 0, 0], abs=0.02)
    assert red == pytest.approx([53.24, 80.09, 67.20], abs=0.05)
    assert grey == pytest.approx([53.39, 0, 0], abs=0.02)


def test_equal_colours_do_not_differ() -> None:
    colours = srgb_to_lab(torch.rand(50, 3, generator=torch.Generator().manual_seed(0)))
    assert ciede2000(colours, colours).max() == 0
