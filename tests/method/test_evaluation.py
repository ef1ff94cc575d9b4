"""Ground truth is compared only where it stands in the photo's frame."""

from __future__ import annotations

import pytest
import torch

from mpod_pipeline.errors import ProductError
from mpod_pipeline.method.evaluation import check_frame


def square(start: int, side: int) -> torch.Tensor:
    mask = torch.zeros(32, 32)
    mask[8 : 8 + side, start : start + side] = 1
    return mask


@pytest.mark.parametrize(("start", "side"), [(8, 16), (13, 16), (8, 12), (8, 22)])
def test_a_ground_truth_about_where_the_product_is_passes(start: int, side: int) -> None:
    # Moved by 5 of 16 pixels: 11 / 21 shared; of 12 or 22 pixels a side: 144 / 256 and 256 / 484.
    check_frame(square(start, side)[None], square(8, 16))


@pytest.mark.parametrize(
    ("start", "side", "overlap"),
    [(14, 16, "45%"), (8, 11, "47%"), (8, 23, "48%"), (28, 4, "0%"), (0, 0, "0%")],
)
def test_one_that_stands_elsewhere_is_refused(start: int, side: int, overlap: str) -> None:
    # Moved by 6: 10 / 22; of 11 or 23 pixels a side: 121 / 256 and 256 / 529; beside it; nowhere.
    with pytest.raises(ProductError, match=rf"overlap by {overlap}"):
        check_frame(square(start, side)[None], square(8, 16))


def test_a_line_of_one_pixel_has_a_box() -> None:
    line = torch.zeros(8, 8)
    line[2:6, 3] = 1
    check_frame(line[None], line)
    with pytest.raises(ProductError, match="overlap by 0%"):
        check_frame(line.T[None], line * (torch.arange(8)[:, None] > 3))
