"""Small networks on a CPU: recorded, and answered in parts on threads."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpod_pipeline.base.threads import threads
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior
from mpod_pipeline.priors.networks import SMALL, WORTH_RECORDING, Recorded, threads_for


class Calls(nn.Module):
    """A network that knows how often Python ran it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(4, 32, 3, padding=1), nn.GroupNorm(4, 32), nn.SiLU(), nn.Conv2d(32, 4, 3))
        self.requires_grad_(False)
        self.count = 0

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        self.count += 1
        return self.layers(x) + shift


def test_a_record_answers_without_python_and_to_the_bit() -> None:
    network, generator = Calls(), torch.Generator().manual_seed(0)
    recorded = Recorded(network, network)
    for _ in range(2 * WORTH_RECORDING):
        inputs = torch.randn(2, 4, 16, 16, generator=generator), torch.randn((), generator=generator)
        with torch.no_grad():
            assert torch.equal(recorded(*inputs), network.layers(inputs[0]) + inputs[1])
    assert network.count <= WORTH_RECORDING


def test_a_record_made_without_gradients_has_those_of_the_network() -> None:
    network, generator = Calls(), torch.Generator().manual_seed(0)
    recorded = Recorded(network, network)
    for _ in range(2 * WORTH_RECORDING):
        with torch.no_grad():
            recorded(torch.randn(2, 4, 16, 16, generator=generator), torch.zeros(()))
    count = network.count
    for _ in range(5):  # TorchScript would rewrite what it has seen twice, if it might
        x = torch.randn(2, 4, 16, 16, generator=generator, requires_grad=True)
        found, wanted = (
            torch.autograd.grad(ask(x, torch.zeros(())).square().sum(), x)[0]
            for ask in (recorded, lambda x, shift: network.layers(x) + shift)
        )
        assert torch.equal(found, wanted)
    assert network.count == count


def test_a_network_that_learns_is_not_recorded() -> None:
    network = Calls().requires_grad_(True)
    recorded, x = Recorded(network, network), torch.ones(1, 4, 8, 8)
    for _ in range(2 * WORTH_RECORDING):
        recorded(x, torch.zeros(())).sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert network.count == 2 * WORTH_RECORDING


def test_each_shape_has_a_record_of_its_own() -> None:
    def ask(x: Tensor) -> Tensor:
        return x.sum() * len(x)  # a record knows the length as a number

    recorded = Recorded(Calls(), ask)
    for length in [2, 3] * (WORTH_RECORDING + 1):
        assert recorded(torch.ones(length)) == length**2


def test_masks_are_heard_after_the_plain_answer_was_recorded(text_to_image: TextToImagePrior) -> None:
    from mpod_pipeline.priors.mrca import TokenMask

    prompt, nothing = text_to_image.encode_prompt("a photo of a mug"), text_to_image.encode_prompt("")
    noisy, timesteps = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([500])
    columns = torch.zeros(prompt.context.shape[1], dtype=torch.bool)
    columns[5] = True
    mask = TokenMask(torch.zeros(1, 1, 8, 8), columns)

    def predicted(mask: TokenMask | None) -> Tensor:
        with torch.no_grad():
            return text_to_image.predict(noisy, timesteps, [prompt], nothing, 5.0, mask)

    before = predicted(None), predicted(mask)
    for _ in range(WORTH_RECORDING + 1):
        plain = predicted(None)
    assert torch.equal(plain, before[0])
    assert torch.equal(predicted(mask), before[1])
    assert not torch.equal(*before)


def test_small_networks_keep_pytorch_to_one_thread_and_large_ones_do_not(novel_view: NovelViewPrior) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with threads_for(novel_view, None):
            assert (torch.get_num_threads(), threads()) == (1, 3)
        assert (torch.get_num_threads(), threads()) == (3, 3)
        with torch.device("meta"):
            large = nn.Linear(1, SMALL)
        with threads_for(novel_view, large):
            assert (torch.get_num_threads(), threads()) == (3, 3)
    finally:
        torch.set_num_threads(before)
