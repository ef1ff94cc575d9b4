"""Work shared out to threads: views, and bands of rows of a view where there are more cores than views."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import torch

from mpod_pipeline.rendering.threads import thread_pool

#: A band of fewer pixels is not worth a thread.
PIXELS_PER_BAND = 1 << 14

Result = TypeVar("Result")


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


def for_each(work: Callable[[Band], Result], tasks: list[Band]) -> list[Result]:
    """Do the work of every band; the results in the order of the bands."""
    threads = torch.get_num_threads()
    if threads == 1 or len(tasks) == 1:
        return [work(task) for task in tasks]
    return list(thread_pool(threads).map(work, tasks))
