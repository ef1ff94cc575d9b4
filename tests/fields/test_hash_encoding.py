"""The hash encoding: closed forms, and each backend against PyTorch in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.fields.hash_encoding import HashEncoding, HashGridParameters, make_hash_encoding
from mpod_pipeline.fields.hash_encoding.interface import HashGridLayout
from mpod_pipeline.fields.hash_encoding.numba_ import NumbaHashEncoding
from mpod_pipeline.fields.hash_encoding.torch_ import TorchHashEncoding

each_backend = pytest.mark.parametrize("encoding", [NumbaHashEncoding, TorchHashEncoding])

# Two dense levels, one whose vertices just miss the table, one far above it.
SMALL = HashGridParameters(levels=4, log2_table_size=11, base_resolution=4, finest_resolution=64)
GRIDS = [SMALL, SMALL.model_copy(update={"features_per_level": 4, "levels": 1}), HashGridParameters()]


def pair(parameters: HashGridParameters) -> tuple[NumbaHashEncoding, TorchHashEncoding]:
    """Numba and PyTorch with the same table of numbers round 1, PyTorch in float64."""
    numba, reference = NumbaHashEncoding(parameters), TorchHashEncoding(parameters).double()
    torch.manual_seed(1)
    with torch.no_grad():
        numba.table.normal_()
        reference.table.copy_(numba.table)
    return numba, reference


def random_table(encoding: HashEncoding) -> HashEncoding:
    torch.manual_seed(1)
    with torch.no_grad():
        encoding.table.normal_()
    return encoding


def points_and_corners(n: int) -> torch.Tensor:
    torch.manual_seed(2)
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 3)
    return torch.cat([torch.rand(n, 3), corners])


def test_layout_by_hand() -> None:
    layout = HashGridLayout.of(
        HashGridParameters(levels=3, log2_table_size=12, base_resolution=4, finest_resolution=64)
    )
    # Growth is 4: scales 4-1, 16-1, 64-1. 4^3 and 16^3 = 2^12 vertices fit, 64^3 do not.
    assert layout.resolution.tolist() == [4, 16, 64]
    assert layout.offset.tolist() == [0, 64, 64 + 4096, 64 + 4096 + 4096]
    assert [layout.is_dense(level) for level in range(3)] == [True, True, False]


@each_backend
def test_dense_level_interpolates_a_linear_function_exactly(encoding: Any) -> None:
    parameters = HashGridParameters(levels=1, base_resolution=8, finest_resolution=8, log2_table_size=9)
    encoding = encoding(parameters)
    x, y, z = np.meshgrid(*[np.arange(8)] * 3, indexing="ij")
    values = torch.from_numpy((x + 10 * y + 100 * z).transpose(2, 1, 0).reshape(-1, 1)).float()
    with torch.no_grad():
        encoding.table.copy_(values)  # x runs fastest
    torch.manual_seed(0)
    points = torch.rand(100, 3) * 0.9  # the last half cell wraps round to the table's start
    position = points * 7 + 0.5
    expected = position @ torch.tensor([1.0, 10.0, 100.0])
    torch.testing.assert_close(encoding(points)[:, 0], expected, rtol=1e-6, atol=1e-3)


@each_backend
def test_hashed_vertex_by_hand(encoding: Any) -> None:
    parameters = HashGridParameters(levels=1, base_resolution=101, finest_resolution=101, log2_table_size=10)
    encoding = encoding(parameters)
    with torch.no_grad():
        encoding.table.copy_(torch.arange(1024.0)[:, None].expand(-1, 2))
    vertex = (30, 57, 91)  # (v - 0.5) / scale lies exactly on the vertex
    points = (torch.tensor([vertex]) - 0.5) / 100
    entry = (vertex[0] ^ (vertex[1] * 2654435761 % 2**32) ^ (vertex[2] * 805459861 % 2**32)) % 1024
    # float32 places the point within 1e-5 of a cell from the vertex, the neighbours' entries are up to 1023
    assert encoding(points)[0, 1].item() == pytest.approx(entry, abs=0.05)


@pytest.mark.parametrize("parameters", GRIDS)
def test_numba_encodes_as_pytorch_in_float64(parameters: HashGridParameters) -> None:
    numba, reference = pair(parameters)
    points = points_and_corners(5000)
    # A float32 position among 256 cells is known to 2e-5 of a cell.
    torch.testing.assert_close(numba(points), reference(points.double()).float(), rtol=0, atol=1e-4)


def test_a_trained_table_agrees_to_1e_5() -> None:
    numba, reference = pair(HashGridParameters())
    with torch.no_grad():  # features of a trained field are of this size
        numba.table.mul_(0.1)
        reference.table.mul_(0.1)
    points = points_and_corners(5000)
    torch.testing.assert_close(numba(points), reference(points.double()).float(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("parameters", GRIDS)
def test_numba_gradients_are_pytorchs_in_float64(parameters: HashGridParameters) -> None:
    numba, reference = pair(parameters)
    points = points_and_corners(2000).requires_grad_()
    exact_points = points.detach().double().requires_grad_()
    incoming = torch.randn(len(points), parameters.output_dim)
    numba(points).backward(incoming)
    reference(exact_points).backward(incoming.double())
    assert points.grad is not None and exact_points.grad is not None
    assert numba.table.grad is not None and reference.table.grad is not None
    # Sums of up to some hundred terms of size 1, each with a weight known to 2e-5.
    torch.testing.assert_close(numba.table.grad, reference.table.grad.float(), rtol=1e-4, atol=2e-4)
    # The gradient to a point jumps between cells: float32 may see a point in the next cell, for very few
    # points.
    error = (points.grad - exact_points.grad.float()).abs().amax(dim=-1)
    scale = exact_points.grad.abs().max().item()
    assert (error < 1e-4 * scale).float().mean() > 0.995


def test_pytorchs_gradients_are_those_of_differences() -> None:
    encoding = random_table(TorchHashEncoding(SMALL).double())
    points = points_and_corners(6)[:6].double().requires_grad_()

    def encode(table: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(encoding, {"table": table}, points)

    table = encoding.table.detach().requires_grad_()
    assert torch.autograd.gradcheck(encode, (table, points), fast_mode=True)


@each_backend
def test_points_outside_are_moved_onto_the_cube(encoding: Any) -> None:
    encoding = random_table(encoding(SMALL))
    outside = torch.tensor([[-0.3, 0.4, 0.5], [1.7, 0.2, 2.0]], requires_grad=True)
    encoded = encoding(outside)
    torch.testing.assert_close(encoded, encoding(outside.detach().clamp(0, 1)), rtol=0, atol=0)
    encoded.sum().backward()
    assert outside.grad is not None
    assert (outside.grad == 0).tolist() == [[True, False, False], [True, False, True]]


@each_backend
def test_nan_and_infinity_are_not_read_as_addresses(encoding: Any) -> None:
    encoded = random_table(encoding(SMALL))(
        torch.tensor([[float("nan"), 0.5, 0.5], [float("inf"), 0.5, 0.5], [0.5, 0.5, 0.5]])
    )
    assert encoded[0].isnan().all()
    assert encoded[1:].isfinite().all()


@each_backend
def test_empty_input(encoding: Any) -> None:
    encoded = random_table(encoding(SMALL))(torch.empty(0, 3))
    assert encoded.shape == (0, SMALL.output_dim)
    encoded.sum().backward()


def test_the_gradient_does_not_depend_on_the_run() -> None:
    numba, _ = pair(HashGridParameters())
    points = points_and_corners(20000)
    incoming = torch.randn(len(points), numba.output_dim)
    first, second = (torch.autograd.grad(numba(points), numba.table, incoming)[0] for _ in range(2))
    assert torch.equal(first, second)


def test_the_seed_decides_the_table() -> None:
    tables = [make_hash_encoding(SMALL, seed=seed).table for seed in (3, 3, 4)]
    assert torch.equal(tables[0], tables[1])
    assert not torch.equal(tables[0], tables[2])


def test_finest_coarser_than_base_is_refused() -> None:
    with pytest.raises(ValidationError, match="finest_resolution must be at least base_resolution"):
        HashGridParameters(base_resolution=32, finest_resolution=16)


def test_cuda_without_a_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match="needs a CUDA device"):
        make_hash_encoding(SMALL, "cuda_packages")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA and tinycudann")
def test_tinycudann_encodes_as_pytorch() -> None:
    pytest.importorskip("tinycudann", reason="needs CUDA and tinycudann")
    cuda = make_hash_encoding(HashGridParameters(), "cuda_packages").to("cuda")
    reference = TorchHashEncoding(HashGridParameters()).to("cuda")
    torch.manual_seed(1)
    with torch.no_grad():
        reference.table.normal_()
        cuda.table.copy_(reference.table)
    # float32 for CUDA's and CPU's scales to be the same; half precision has three digits
    points = torch.rand(5000, 3, device="cuda")
    torch.testing.assert_close(cuda(points), reference(points), rtol=0, atol=1e-2)
    incoming = torch.randn(5000, reference.output_dim, device="cuda")
    cuda(points).backward(incoming)
    reference(points).backward(incoming)
    gradient = next(cuda.parameters()).grad
    assert gradient is not None and reference.table.grad is not None
    torch.testing.assert_close(gradient.view_as(reference.table), reference.table.grad, rtol=2e-2, atol=5e-2)
