"""Work shared out to threads: views, and bands of rows of a view where there are more cores than views."""

from __future__ import annotations

from typing import NamedTuple

import torch

#: A band of fewer pixels is not worth a thread.
PIXELS_PER_BAND = 1 << 14


class Band(NamedTuple):
    """Rows [top, bottom) of a view."""

    view: int
    top: int
    bottom: int


def bands(views: int, size: int) -> list[Band]:
    """All rows of all views, in as many bands as keep PyTorch's number of threads busy, view by view."""
    wanted = -(-torch.get_num_threads() // views)
    count = max(1, min(wanted, size * size // PIXELS_PER_BAND))
    edges = [size * i // count for i in range(count + 1)]
    return [Band(view, edges[i], edges[i + 1]) for view in range(views) for i in range(count)]
