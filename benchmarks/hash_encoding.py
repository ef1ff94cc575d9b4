"""How much faster the Numba hash encoding is than the plain PyTorch one, both in this run.

    python benchmarks/hash_encoding.py

200,000 points, 12 levels of 2 features, tables of 2^16 entries, forward and backward to the table.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from time import perf_counter

import torch

from mpod_pipeline.fields.hash_encoding.interface import HashEncoding, HashGridParameters
from mpod_pipeline.fields.hash_encoding.numba_ import NumbaHashEncoding
from mpod_pipeline.fields.hash_encoding.torch_ import TorchHashEncoding


def fastest(work: Callable[[], object], repeats: int) -> float:
    """Milliseconds of the fastest of some runs, after one that compiles and warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return min(times) * 1000


def forward_and_backward(encoding: HashEncoding, points: torch.Tensor, repeats: int) -> tuple[float, float]:
    """Milliseconds of the encoding of points [N, 3], and of the gradient to its table."""
    encoded = encoding(points)
    incoming = torch.ones_like(encoded)
    forward = fastest(lambda: encoding(points), repeats)
    backward = fastest(lambda: torch.autograd.grad(encoded, encoding.table, incoming, retain_graph=True), repeats)
    return forward, backward


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200_000)
    arguments = parser.parse_args()
    parameters = HashGridParameters(levels=12, features_per_level=2, log2_table_size=16)
    torch.manual_seed(0)
    points = torch.rand(arguments.points, 3)
    ours = forward_and_backward(NumbaHashEncoding(parameters), points, repeats=20)
    theirs = forward_and_backward(TorchHashEncoding(parameters), points, repeats=2)
    print(f"{arguments.points:,} points, {torch.get_num_threads()} threads; milliseconds, fastest run")
    print(f"{'':12}{'forward':>10}{'backward':>10}{'both':>10}")
    for name, times in (("PyTorch", theirs), ("Numba", ours)):
        print(f"{name:12}{times[0]:10.1f}{times[1]:10.1f}{sum(times):10.1f}")
    ratios = (theirs[0] / ours[0], theirs[1] / ours[1], sum(theirs) / sum(ours))
    print(f"{'ratio':12}" + "".join(f"{ratio:10.1f}" for ratio in ratios))


if __name__ == "__main__":
    main()
