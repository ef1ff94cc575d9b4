"""Work shared out to plain threads.

Kernels run without the GIL on these threads, and not in Numba's own parallel loops. OpenMP's threads wait by spinning,
which costs more than the kernels do when PyTorch's threads or other work run beside, and they do not survive a fork.

PyTorch's threads spin too, for some milliseconds after any operation that woke them: one on more than 32,768 numbers, a
product of matrices. They hold up a kernel that follows. So small work round kernels is NumPy's.

Nor do PyTorch's threads bring much in small networks: of a product's time with one thread, two saved an eighth, and to
wake them can take longer than the operation. Halves of the work, each on a thread of its own, meet once and not at
every operation (`side_by_side`). So what is small keeps PyTorch to the thread that calls it (`on_pythons_threads`).
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from threading import local
from typing import TypeVar

import torch
from torch import Tensor

Item = TypeVar("Item")
Result = TypeVar("Result")


#: How many threads the work of the calling thread is shared out to, where that is not PyTorch's own number.
_shared_out = local()


def threads() -> int:
    """How many threads the caller's work is shared out to."""
    return getattr(_shared_out, "to", None) or torch.get_num_threads()


@contextmanager
def _with_threads(shared_out_to: int | None, pytorchs: int) -> Iterator[None]:
    before = getattr(_shared_out, "to", None), torch.get_num_threads()
    _shared_out.to = shared_out_to
    torch.set_num_threads(pytorchs)  # of the thread that calls it
    try:
        yield
    finally:
        _shared_out.to = before[0]
        torch.set_num_threads(before[1])


@contextmanager
def on_pythons_threads() -> Iterator[None]:
    """Work is shared out to as many threads as before, but none of PyTorch's operations is."""
    with _with_threads(threads(), 1):
        yield


@contextmanager
def on_pytorchs_threads() -> Iterator[None]:
    """For many pictures at a time amid small work: PyTorch shares out its operations to all threads."""
    with _with_threads(None, threads()):
        yield


@cache
def thread_pool(threads: int) -> ThreadPoolExecutor:
    """The process's pool of so many threads."""
    return ThreadPoolExecutor(threads, thread_name_prefix="kernels")


# A forked process inherits the pool, but not its threads.
os.register_at_fork(after_in_child=thread_pool.cache_clear)


def for_each(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """The results of ``work(item)``, in the items' order, on `threads` threads. The caller's is among them.

    A thread takes the next item when it is through with its last. To wake a thread costs a kernel's time, and the
    caller does not wait for it. Returns, or raises an item's error, when no thread works any more.
    """
    count = threads()
    if count == 1 or len(items) < 2:
        return [work(item) for item in items]
    left = deque(enumerate(items))
    results: dict[int, Result] = {}

    def take() -> None:
        while left:
            try:
                number, item = left.popleft()
            except IndexError:  # another thread was faster
                return
            results[number] = work(item)

    pool = thread_pool(count)
    helpers = [pool.submit(take) for _ in range(min(count, len(items)) - 1)]
    try:
        take()
    finally:
        left.clear()
        wait(helpers)
    for helper in helpers:
        helper.result()
    return [results[number] for number in range(len(items))]


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """As `for_each`, for work of PyTorch's own: meanwhile the threads are shared out to those who work, so that no two
    of them wait for a core. Gradients are recorded where the caller records them.
    """
    if threads() == 1 or len(items) < 2:
        return [work(item) for item in items]
    recorded, share = torch.is_grad_enabled(), max(1, threads() // len(items))

    def with_a_share(item: Item) -> Result:
        with _with_threads(share, share), torch.set_grad_enabled(recorded):
            return work(item)

    return for_each(with_a_share, items)


def in_parts(ask: Callable[..., Tensor], *batch: Tensor) -> Tensor:
    """What a network answers to a batch, inputs [B, ...] each: on a CPU in parts, a thread each."""
    parts = min(threads(), len(batch[0])) if batch[0].device.type == "cpu" else 1
    if parts == 1:
        return ask(*batch)
    chunks = zip(*(each.chunk(parts) for each in batch), strict=True)
    return torch.cat(side_by_side(lambda chunk: ask(*chunk), list(chunks)))


def share_out(work: Callable[[int, int], object], n_items: int, largest: int) -> None:
    """Call work(first, end) for parts of range(n_items) of at most `largest` items, on several threads.

    The parts must not write to the same memory.
    """
    size = max(1, min(largest, -(-n_items // threads())))
    parts = [(first, min(first + size, n_items)) for first in range(0, n_items, size)]
    for_each(lambda part: work(*part), parts)
