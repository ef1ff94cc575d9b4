"""The field's small networks against the formula."""

import torch

from mpod_pipeline.fields.mlp import MLP, side_by_side


def by_hand(inputs: torch.Tensor, hidden: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
    with_one = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], dim=1)
    return (with_one @ hidden.T).relu() @ output.T


def some(n: int, inputs: int) -> torch.Tensor:
    return torch.randn(n, inputs, generator=torch.Generator().manual_seed(0))


def test_is_the_formula() -> None:
    for inputs, outputs in [(12, 1), (15, 3), (16, 3), (32, 1)]:
        mlp, x = MLP(inputs, outputs, 32, seed=3), some(50, inputs)
        torch.testing.assert_close(mlp(x), by_hand(x, mlp.hidden, mlp.output))
        assert mlp(x).shape == (50, outputs)


def test_gradients_are_those_of_the_formula() -> None:
    mlp, x = MLP(12, 3, 32, seed=3), some(50, 12).requires_grad_()
    found = torch.autograd.grad(mlp(x).square().sum(), [x, mlp.hidden, mlp.output])
    expected = torch.autograd.grad(by_hand(x, mlp.hidden, mlp.output).square().sum(), [x, mlp.hidden, mlp.output])
    torch.testing.assert_close(found, expected)


def test_networks_side_by_side_answer_and_learn_as_alone() -> None:
    one, other, x = MLP(4, 1, 8, seed=1), MLP(4, 3, 8, seed=2), some(50, 8).requires_grad_()
    even, odd = torch.arange(0, 8, 2), torch.arange(1, 8, 2)
    joined = side_by_side(x, [(one.reading(even, 8), one.output), (other.reading(odd, 8), other.output)])
    alone = torch.cat([one(x[:, even]), other(x[:, odd])], dim=1)
    torch.testing.assert_close(joined, alone)
    learning = [x, *one.parameters(), *other.parameters()]
    found = torch.autograd.grad(joined.square().sum(), learning)
    torch.testing.assert_close(found, torch.autograd.grad(alone.square().sum(), learning))


def test_the_seed_decides_the_start() -> None:
    one, same, other = (MLP(12, 1, 32, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.hidden, same.hidden) and torch.equal(one.output, same.output)
    assert not torch.equal(one.hidden, other.hidden)
