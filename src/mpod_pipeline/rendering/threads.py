"""Work shared out to plain threads.

Kernels without the GIL on these threads, rather than Numba's own parallel loops: OpenMP's threads wait by
spinning, which beside PyTorch's threads or other work costs more than the kernels do, and they do not survive
a fork.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


@cache
def thread_pool(threads: int) -> ThreadPoolExecutor:
    """The process's pool of so many threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")


# A forked process inherits the pool, but not its threads.
os.register_at_fork(after_in_child=thread_pool.cache_clear)


def share_out(work: Callable[[int, int], object], n_items: int, largest: int) -> None:
    """Call work(first, end) for parts of range(n_items) of at most `largest` items, on several threads.

    As many threads as PyTorch has. Returns when all is done. The parts must not write to the same memory.
    """
    threads = torch.get_num_threads()
    size = max(1, min(largest, -(-n_items // threads)))
    parts = [(first, min(first + size, n_items)) for first in range(0, n_items, size)]
    if threads == 1 or len(parts) == 1:
        for first, end in parts:
            work(first, end)
    else:
        for _ in thread_pool(threads).map(lambda part: work(*part), parts):
            pass
