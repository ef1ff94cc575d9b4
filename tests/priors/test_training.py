"""Training learns, and a killed run goes on where an undisturbed one would have been."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.priors.architecture import POSE_DIM, make_autoencoder, make_unet
from mpod_pipeline.priors.attention import Float32Attention
from mpod_pipeline.priors.muon import Muon, orthogonalize
from mpod_pipeline.priors.train_autoencoder import AutoencoderTraining, autoencoder_psnr, encode, train_autoencoder
from mpod_pipeline.priors.train_denoisers import TextDenoiser, widen_input
from mpod_pipeline.priors.training import TrainingParameters, fit, learning_rate, make_optimizers, step_generator
from tests.priors.tiny import TINY


def _loss(net: nn.Module, step: int) -> Tensor:
    _, generator = step_generator(0, step)
    x = torch.randn(16, 3, generator=generator)
    return (net(x) - x.sum(1, keepdim=True)).square().mean()


def _net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


class KilledError(Exception):
    pass


def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    p = TrainingParameters(steps=40, learning_rate=0.5, warmup_steps=5, decay_steps=30, checkpoint_every=10)
    straight: list[float] = []
    whole = fit(_net(), _loss, p, tmp_path / "a.pt", lambda s, n, losses: straight.append(losses["loss"]))

    losses: list[float] = []

    def dying(step: int, total: int, values: dict[str, float]) -> None:
        losses.append(values["loss"])
        if step == 25:
            raise KilledError

    with pytest.raises(KilledError):
        fit(_net(), _loss, p, tmp_path / "b.pt", dying)
    losses.clear()  # a resumed run tells of the steps behind it, too
    resumed = fit(_net(), _loss, p, tmp_path / "b.pt", lambda s, n, values: losses.append(values["loss"]))
    assert losses == straight
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)
    assert straight[-1] < 0.1 * straight[0]


def test_a_checkpoint_of_another_start_is_refused_and_kept(tmp_path: Path) -> None:
    """Training on from finished weights must not end at once because an older training has ended."""
    p = TrainingParameters(steps=4, checkpoint_every=2, warmup_steps=0)
    ended = fit(_net(), _loss, p, tmp_path / "d.pt", lambda *_: None)
    kept = (tmp_path / "d.pt").read_bytes()
    for start, seed in ((ended, p.seed), (_net(), p.seed + 1)):
        with pytest.raises(SetupError, match="other weights or with another seed; delete it"):
            fit(start, _loss, p.model_copy(update={"seed": seed}), tmp_path / "d.pt", lambda *_: None)
    with pytest.raises(SetupError, match="latents of another autoencoder"):
        fit(_net(), _loss, p, tmp_path / "d.pt", lambda *_: None, data=1)
    assert (tmp_path / "d.pt").read_bytes() == kept


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    p = TrainingParameters(steps=20, checkpoint_every=5, warmup_steps=0)
    with pytest.raises(FloatingPointError, match="step 12"):
        fit(
            _net(),
            lambda net, s: _loss(net, s) * (float("nan") if s == 12 else 1),
            p,
            tmp_path / "c.pt",
            lambda *_: None,
        )
    assert len(torch.load(tmp_path / "c.pt", weights_only=True)["losses"]) == 10


def test_the_learning_rate_warms_up_and_cools_down() -> None:
    p = TrainingParameters(steps=100, learning_rate=1.0, warmup_steps=10, decay_steps=20)
    assert learning_rate(p, 0) == pytest.approx(0.1)
    assert learning_rate(p, 50) == 1.0
    assert learning_rate(p, 99) == pytest.approx(0.1 + 0.9 / 20)


def test_orthogonal_steps_have_singular_values_of_one() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(24, 200, generator=generator)
    for matrix in (wide, wide.T, 1e-6 * wide):
        values = torch.linalg.svdvals(orthogonalize(matrix))
        assert values.min() > 0.6 and values.max() < 1.25  # the quintic's own band
    u, _, vh = torch.linalg.svd(wide, full_matrices=False)
    assert torch.nn.functional.cosine_similarity(orthogonalize(wide).flatten(), (u @ vh).flatten(), dim=0) > 0.97


def test_directions_without_a_gradient_get_no_step() -> None:
    """Rank 3 of 16: rounding must not be blown up into steps (the tail of the spectrum is zero)."""
    generator = torch.Generator().manual_seed(0)
    low_rank = torch.randn(16, 3, generator=generator) @ torch.randn(3, 40, generator=generator)
    values = torch.linalg.svdvals(orthogonalize(low_rank))
    assert values[2] > 0.6 and values[3] < 1e-3


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_a_convolution_is_stepped_as_a_matrix(memory_format: torch.memory_format) -> None:
    generator = torch.Generator().manual_seed(0)
    weight, gradient = (torch.randn(8, 5, 3, 3, generator=generator) for _ in range(2))
    q = nn.Parameter(weight.clone(memory_format=memory_format))
    q.grad = gradient.to(memory_format=memory_format)
    Muon([q], lr=0.1, weight_decay=0.5).step()
    matrix = gradient.permute(0, 2, 3, 1).reshape(8, 45)
    change = orthogonalize(matrix).view(8, 3, 3, 5).permute(0, 3, 1, 2)
    torch.testing.assert_close(q.detach(), weight * 0.95 - 0.1 * 0.2 * 45**0.5 * change, atol=1e-5, rtol=1e-4)


def test_weights_of_one_shape_are_stepped_each_by_itself() -> None:
    """They are orthogonalised in one batch, in which none may see another."""
    generator = torch.Generator().manual_seed(0)
    shapes = [(6, 4), (3, 5, 2, 2), (6, 4), (4, 6), (3, 5, 2, 2)]
    weights, first, second = ([torch.randn(s, generator=generator) for s in shapes] for _ in range(3))

    def stepped(indices: list[int]) -> list[torch.Tensor]:
        parameters = [nn.Parameter(weights[i].clone()) for i in indices]
        optimizer = Muon(parameters, lr=0.1, weight_decay=0.5)
        for gradients in (first, second):
            for q, i in zip(parameters, indices, strict=True):
                q.grad = gradients[i].clone()
            optimizer.step()
        return [q.detach() for q in parameters]

    for i, together in enumerate(stepped([0, 1, 2, 3, 4])):
        torch.testing.assert_close(together, stepped([i])[0], atol=1e-5, rtol=1e-4)


def test_every_weight_has_one_optimizer() -> None:
    network = make_unet(TINY, 4)
    optimizers = make_optimizers(network, TrainingParameters(steps=1))
    groups = [{id(q) for group in o.param_groups for q in group["params"]} for o in optimizers]
    assert not groups[0] & groups[1]
    assert groups[0] | groups[1] == {id(q) for q in network.parameters()}
    assert id(network.mid_block.resnets[0].conv1.weight) in groups[0]
    assert id(network.conv_in.weight) in groups[1]


def test_a_small_zero123_starts_as_the_small_stable_diffusion() -> None:
    """Whatever the photo and the pose: what they add starts at zero."""
    torch.manual_seed(0)
    narrow = make_unet(TINY, 4).eval()
    wide = widen_input(narrow, TINY).eval()
    noisy, photo, pose = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8), torch.randn(2, 4)
    context = torch.randn(2, 5, TINY.context_dim)
    with torch.no_grad():
        before = narrow(noisy, 500, encoder_hidden_states=context).sample
        after = wide(torch.cat([noisy, photo], 1), 500, encoder_hidden_states=context, class_labels=pose).sample
    torch.testing.assert_close(after, before, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("tokens", [None, 5])
def test_attention_in_float32_is_pytorchs_own(tokens: int | None) -> None:
    torch.manual_seed(0)
    unet = make_unet(TINY, 4).train()
    block = unet.mid_block.attentions[0].transformer_blocks[0]
    layer = block.attn1 if tokens is None else block.attn2
    x = torch.randn(2, 16, 64, requires_grad=True)
    context = None if tokens is None else torch.randn(2, tokens, TINY.context_dim)
    (expected,) = torch.autograd.grad(layer(x, context).square().sum(), x)
    layer.set_processor(Float32Attention())
    (gradient,) = torch.autograd.grad(layer(x, context).square().sum(), x)
    torch.testing.assert_close(gradient, expected, atol=1e-4, rtol=1e-4)


def test_a_small_stable_diffusion_takes_layers_but_keeps_what_it_attends_to() -> None:
    """Two U-Nets that differ in all but the attention to their context: after taking the one's layers, out of a U-Net
    with four inputs more and an embedded pose, the other answers as that one does with neither.
    """
    torch.manual_seed(0)
    own, other = make_unet(TINY, 4).eval(), make_unet(TINY, 4).eval()
    attention = {name: weight for name, weight in own.state_dict().items() if ".attn2." in name}
    other.load_state_dict(other.state_dict() | attention)
    noisy, context = torch.randn(2, 4, 8, 8), torch.randn(2, 5, TINY.context_dim)

    def answers(unet: UNet2DConditionModel) -> Tensor:
        with torch.no_grad():
            answer: Tensor = unet(noisy, 500, encoder_hidden_states=context).sample
        return answer

    assert (answers(own) - answers(other)).abs().max() > 0.01
    wide = widen_input(other, TINY).eval()
    TextDenoiser(own, nn.Identity()).take_layers(wide)
    assert torch.equal(answers(own), answers(other))  # its pose is embedded as nothing so far
    nn.init.normal_(wide.class_embedding.linear_2.weight)
    with torch.no_grad():
        unconditional = wide(
            torch.cat([noisy, torch.zeros_like(noisy)], dim=1),
            500,
            encoder_hidden_states=context,
            class_labels=torch.zeros(2, POSE_DIM),
        ).sample
    TextDenoiser(own, nn.Identity()).take_layers(wide)
    torch.testing.assert_close(answers(own), unconditional, atol=1e-5, rtol=1e-4)
    for name, weight in attention.items():
        assert torch.equal(own.state_dict()[name], weight)


def test_an_autoencoder_that_is_trained_on_keeps_its_latents_nearly(tmp_path: Path) -> None:
    """Denoisers of the old latents stay good, and the start itself is left as it was."""
    torch.manual_seed(0)
    start = make_autoencoder(TINY).eval()
    start.register_to_config(scaling_factor=3.0)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    before = encode(start, pictures)

    def trained_on(hold_weight: float, checkpoint: str) -> AutoencoderKL:
        p = AutoencoderTraining(steps=20, batch_size=8, warmup_steps=0, whole_steps=0, crop=32, hold_weight=hold_weight)
        return train_autoencoder(pictures, TINY, p, tmp_path / checkpoint, lambda *_: None, start=start)

    held, free = trained_on(10.0, "held.pt"), trained_on(0.0, "free.pt")
    moved = [float((encode(network, pictures) - before).float().square().mean()) for network in (held, free)]
    assert 0 < moved[0] < 0.3 * moved[1]
    for network in (held, free):
        assert autoencoder_psnr(network, pictures) > autoencoder_psnr(start, pictures)
        assert network.config.scaling_factor == 3.0
    assert torch.equal(encode(start, pictures), before)
