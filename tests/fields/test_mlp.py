"""The field's small networks: one formula, whoever makes it."""

import sys
import types

import pytest
import torch
from torch import nn

from mpod_pipeline.errors import SetupError
from mpod_pipeline.fields.mlp import MLP, make_mlp
from mpod_pipeline.fields.mlp.tinycudann_ import TinyCudaMLP


def by_hand(inputs: torch.Tensor, hidden: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    with_one = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
    return (with_one @ hidden.T).relu() @ output.T


def some(n: int, inputs: int) -> torch.Tensor:
    return torch.randn(n, inputs, generator=torch.Generator().manual_seed(0))


class Network(nn.Module):
    """tiny-cuda-nn's layout: one flat tensor, inputs and outputs in sixteens."""

    def __init__(self, n_input_dims: int, n_output_dims: int, network_config: dict, seed: int = 1337) -> None:
        super().__init__()
        self.width, self.outputs = network_config["n_neurons"], n_output_dims
        assert network_config["n_hidden_layers"] == 1 and network_config["activation"] == "ReLU"
        self.padded = -(-n_input_dims // 16) * 16
        count = self.width * (self.padded + -(-n_output_dims // 16) * 16)
        self.params = nn.Parameter(torch.randn(count, generator=torch.Generator().manual_seed(seed)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, last = self.params.split(
            [self.width * self.padded, len(self.params) - self.width * self.padded]
        )
        y = (x @ first.view(self.width, self.padded).T).relu() @ last.view(-1, self.width).T
        return y[:, : self.outputs].half()


@pytest.fixture
def layout(monkeypatch: pytest.MonkeyPatch) -> None:
    """tinycudann's place is taken by its layout, in PyTorch."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    package = types.ModuleType("tinycudann")
    package.Network = Network  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "tinycudann", package)


@pytest.mark.parametrize(("inputs", "outputs"), [(12, 1), (15, 3), (16, 3), (32, 1)])
def test_is_the_formula(inputs: int, outputs: int) -> None:
    mlp, x = make_mlp(inputs, outputs, 32, seed=3), some(50, inputs)
    torch.testing.assert_close(mlp(x), by_hand(x, mlp.hidden, mlp.output))
    assert mlp(x).shape == (50, outputs)


def test_gradients_are_those_of_the_formula() -> None:
    mlp, x = make_mlp(12, 3, 32, seed=3), some(50, 12).requires_grad_()
    found = torch.autograd.grad(mlp(x).square().sum(), [x, mlp.hidden, mlp.output])
    expected = torch.autograd.grad(
        by_hand(x, mlp.hidden, mlp.output).square().sum(), [x, mlp.hidden, mlp.output]
    )
    torch.testing.assert_close(found, expected)


def test_the_seed_decides_the_start() -> None:
    one, same, other = (make_mlp(12, 1, 32, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.hidden, same.hidden) and torch.equal(one.output, same.output)
    assert not torch.equal(one.hidden, other.hidden)


@pytest.mark.usefixtures("layout")
@pytest.mark.parametrize(("inputs", "outputs"), [(12, 1), (15, 3), (16, 3), (32, 1)])
def test_tinycudanns_layout_holds_the_same_matrices(inputs: int, outputs: int) -> None:
    theirs, ours, x = (
        TinyCudaMLP(inputs, outputs, 32, seed=3),
        make_mlp(inputs, outputs, 32, seed=3),
        some(50, inputs),
    )
    assert torch.equal(theirs.hidden, ours.hidden) and torch.equal(theirs.output, ours.output)
    # Half precision's three digits of numbers of about 1
    torch.testing.assert_close(theirs(x), ours(x), rtol=2e-3, atol=2e-3)
    assert theirs(x).dtype == torch.float32
    for mlp in (theirs, ours):
        mlp(x).sum().backward()
    filled = theirs.network.params.grad[: 32 * theirs.filled].view(32, -1)
    torch.testing.assert_close(filled[:, : inputs + 1], ours.hidden.grad, rtol=1e-2, atol=1e-2)
    # What fills up the inputs is nought and stays so.
    assert not filled[:, inputs + 1 :].any()


@pytest.mark.usefixtures("layout")
def test_a_width_without_a_kernel_is_refused() -> None:
    with pytest.raises(SetupError, match=r"mlp_width must be one of \(16, 32, 64, 128\), and is 24"):
        make_mlp(12, 1, 24, "cuda")


def test_cuda_without_a_device_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SetupError, match="maker 'cuda' of the field's network needs a CUDA device"):
        make_mlp(12, 1, 32, "cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA and tinycudann")
@pytest.mark.parametrize(("inputs", "outputs"), [(12, 1), (32, 3)])
def test_tinycudann_is_the_formula(inputs: int, outputs: int) -> None:
    pytest.importorskip("tinycudann", reason="needs CUDA and tinycudann")
    cuda: MLP = make_mlp(inputs, outputs, 32, "cuda", seed=3).to("cuda")
    cpu = make_mlp(inputs, outputs, 32, seed=3)
    x = some(1000, inputs)
    # Half precision has three digits.
    torch.testing.assert_close(cuda(x.cuda()).cpu(), cpu(x), rtol=1e-2, atol=1e-2)
    on_cuda, on_cpu = x.cuda().requires_grad_(), x.clone().requires_grad_()
    cuda(on_cuda).sum().backward()
    cpu(on_cpu).sum().backward()
    # Near 0 a unit may be on in one and off in the other, so single elements may differ.
    assert (on_cuda.grad.cpu() - on_cpu.grad).norm() < 2e-2 * on_cpu.grad.norm()
    gradient = next(cuda.parameters()).grad[: 32 * cuda.filled].view(32, -1)[:, : inputs + 1]
    assert (gradient.cpu() - cpu.hidden.grad).norm() < 2e-2 * cpu.hidden.grad.norm()
