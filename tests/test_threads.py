"""Sharing work out: everything once, whatever the number of threads, and errors come back."""

import time
from collections.abc import Iterator

import pytest
import torch

from mpod_pipeline.base.threads import (
    for_each,
    in_parts,
    on_pythons_threads,
    on_pytorchs_threads,
    share_out,
    side_by_side,
)
from mpod_pipeline.base.threads import threads as shared_out_to
from mpod_pipeline.fields.hash_encoding import HashGridParameters, make_hash_encoding


@pytest.fixture(params=[1, 3], ids=["one thread", "three threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_items", [0, 1, 2, 10, 101])
def test_every_item_is_worked_on_once_in_small_parts(threads: int, n_items: int) -> None:
    done = [0] * n_items
    sizes = []

    def work(first: int, end: int) -> None:
        sizes.append(end - first)
        for item in range(first, end):
            done[item] += 1

    share_out(work, n_items, largest=7)
    assert done == [1] * n_items
    assert max(sizes, default=0) <= 7


def test_an_error_of_one_part_is_raised(threads: int) -> None:
    def work(first: int, end: int) -> None:
        if first <= 50 < end:
            raise ValueError("item 50")

    with pytest.raises(ValueError, match="item 50"):
        share_out(work, 100, largest=7)


def test_results_come_in_the_items_order(threads: int) -> None:
    def work(item: int) -> int:
        time.sleep(0.001 * (item % 3))
        return item * item

    assert for_each(work, range(20)) == [i * i for i in range(20)]


def test_after_an_error_no_thread_goes_on(threads: int) -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.005)
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item"):
        for_each(work, range(50))
    count = len(begun)
    time.sleep(0.02)
    assert len(begun) == count <= threads


def test_work_side_by_side_shares_pytorchs_threads_and_records_as_its_caller_does(threads: int) -> None:
    def work(item: int) -> tuple[int, int, bool]:
        return item, torch.get_num_threads(), torch.is_grad_enabled()

    assert side_by_side(work, range(3)) == [(item, 1, True) for item in range(3)]
    with torch.no_grad():
        assert side_by_side(work, range(3)) == [(item, 1, False) for item in range(3)]
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda item: 1 // item, [1, 0])
    assert torch.get_num_threads() == threads


def test_pytorchs_operations_stay_on_one_thread_while_work_is_shared_out(threads: int) -> None:
    def seen() -> tuple[int, int]:
        return torch.get_num_threads(), shared_out_to()

    with on_pythons_threads():
        assert seen() == (1, threads)
        shares = side_by_side(lambda _: seen(), range(threads))
        assert shares == [(1, 1)] * threads
        with on_pytorchs_threads():
            assert seen() == (threads, threads)
        assert seen() == (1, threads)
    assert seen() == (threads, threads)


def test_parts_are_one_answer_in_the_batchs_order(threads: int) -> None:
    answer = in_parts(lambda x, y: x * 10 + y, torch.arange(5), torch.arange(5) % 2)
    assert answer.tolist() == [0, 11, 20, 31, 40]


def test_gradients_do_not_depend_on_the_number_of_threads() -> None:
    encoding = make_hash_encoding(HashGridParameters())
    points = torch.rand(30000, 3, generator=torch.Generator().manual_seed(0))
    before = torch.get_num_threads()
    gradients = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        encoded = encoding(points)
        gradients.append(torch.autograd.grad(encoded.square().sum(), encoding.table)[0])
    torch.set_num_threads(before)
    assert torch.equal(*gradients)
