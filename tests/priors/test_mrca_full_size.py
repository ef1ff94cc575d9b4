"""MRCA in the shapes of Stable Diffusion: 77 tokens, 8 heads, every layer of a U-Net, half precision."""

from __future__ import annotations

import pytest
import torch
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional as F

from mpod_pipeline.priors.mrca import RectifiedAttention, TokenMask, rectified_attention
from tests.priors.layouts import SD15_UNET, SD21_UNET, make_unet

TOKENS = 77


def disc(batch: int, size: int) -> Tensor:
    """Masks [B, 1, size, size] of discs of different sizes, off the middle."""
    centres = (torch.arange(size) + 0.5) / size
    y, x = torch.meshgrid(centres, centres, indexing="ij")
    radius = torch.linspace(0.2, 0.4, batch)[:, None, None]
    return ((x - 0.4) ** 2 + (y - 0.55) ** 2 < radius**2)[:, None].float()


def columns_at(*positions: int) -> Tensor:
    columns = torch.zeros(TOKENS, dtype=torch.bool)
    columns[list(positions)] = True
    return columns


def attention_written_out(
    layer: Attention, x: Tensor, context: Tensor, mask: Tensor, columns: Tensor
) -> tuple[Tensor, Tensor]:
    """Equations 6 to 8 in float32, one product and one head after another: output [2B, HW, D], weights."""
    side = int(x.shape[1] ** 0.5)
    inside = F.adaptive_max_pool2d(mask, (side, side)).flatten(1) > 0.5  # [B, HW]
    q, k, v = layer.to_q(x).float(), layer.to_k(context).float(), layer.to_v(context).float()
    width = q.shape[-1] // layer.heads
    weights = torch.zeros(len(x), layer.heads, x.shape[1], TOKENS)
    output = torch.zeros_like(q)
    for b in range(len(x)):
        for h in range(layer.heads):
            part = slice(h * width, (h + 1) * width)
            scores = q[b, :, part] @ k[b, :, part].T / width**0.5  # Eq. 6
            if b >= len(x) // 2:  # the conditional half
                outside = ~inside[b - len(x) // 2]
                scores[outside[:, None] & columns] = float("-inf")  # Eq. 8
            weights[b, h] = scores.softmax(-1)
            output[b, :, part] = weights[b, h] @ v[b, :, part]  # Eq. 7
    return layer.to_out[0](output.to(x.dtype)), weights


@pytest.mark.parametrize(
    ("width", "heads", "side", "context_width"),
    [
        (320, 8, 64, 768),
        (640, 8, 32, 768),
        (1280, 8, 16, 768),
        (1280, 8, 8, 768),
        (320, 5, 64, 1024),
        (1280, 20, 16, 1024),
    ],
)
def test_a_layer_of_stable_diffusions_own_size(width: int, heads: int, side: int, context_width: int) -> None:
    torch.manual_seed(0)
    layer = Attention(width, context_width, heads=heads, dim_head=width // heads)
    x, context = torch.randn(2, side * side, width), torch.randn(2, TOKENS, context_width)
    mask, columns = disc(1, 64), columns_at(8)
    with torch.no_grad():
        ours = RectifiedAttention(TokenMask(mask, columns))(layer, x, context)
        expected, _ = attention_written_out(layer, x, context, mask, columns)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-4)  # float32, sums of some hundred


def weights_of_the_processor(x: Tensor, context: Tensor, token_mask: TokenMask) -> Tensor:
    """The attention weights [2B, heads, HW, L] that the processor itself used, in its own precision.

    A layer of 8 heads of 80 channels (the second level of Stable Diffusion 1.5) whose values are unit vectors, one a
    token, and whose outlet is the identity: what comes out is the weights.
    """
    torch.manual_seed(0)
    layer = Attention(640, 768, heads=8, dim_head=80, out_dim=640, out_bias=False)
    with torch.no_grad():
        layer.to_v.weight.zero_()
        for head in range(8):
            layer.to_v.weight[80 * head : 80 * head + TOKENS, :TOKENS] = torch.eye(TOKENS)
        layer.to_out[0].weight.copy_(torch.eye(640))
        layer.to(x.dtype)
        context = torch.cat([torch.eye(TOKENS).to(context).expand(len(x), -1, -1), context[..., TOKENS:]], dim=-1)
        out = RectifiedAttention(token_mask)(layer, x, context)
    return out.view(len(x), -1, 8, 80)[..., :TOKENS].transpose(1, 2).float()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("mask_size", [8, 16, 32, 64])
@pytest.mark.parametrize("positions", [(1,), (8,), (3, 4), (8, *range(9, TOKENS))])
def test_rows_sum_to_one_and_nothing_of_the_token_lies_outside(
    dtype: torch.dtype, mask_size: int, positions: tuple[int, ...]
) -> None:
    generator = torch.Generator().manual_seed(1)
    side, mask, columns = 16, disc(2, mask_size), columns_at(*positions)
    x = torch.randn(4, side * side, 640, generator=generator).to(dtype) * 2
    context = torch.randn(4, TOKENS, 768, generator=generator).to(dtype) * 2
    weights = weights_of_the_processor(x, context, TokenMask(mask, columns))
    assert weights.isfinite().all()
    digits = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}[dtype]  # of 77 rounded terms
    torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:3]), atol=digits, rtol=0)
    inside = F.adaptive_max_pool2d(mask, (side, side)).flatten(1) > 0.5
    assert (weights[2:, :, :, columns].transpose(0, 1)[:, ~inside] == 0).all()
    assert (weights[2:, :, :, columns].transpose(0, 1)[:, inside].sum(-1) > 0).float().mean() > 0.9
    assert (weights[:2, :, :, columns].sum(-1) > 0).float().mean() > 0.9  # the unconditional half is left alone


@pytest.mark.parametrize("config", [SD15_UNET, SD21_UNET], ids=["sd15", "sd21"])
@pytest.mark.parametrize("mask_size", [8, 64])
def test_every_cross_attention_of_a_unet_is_equations_6_to_8(config: dict[str, object], mask_size: int) -> None:
    torch.manual_seed(0)
    unet = make_unet(config, sample_size=32).eval()
    generator = torch.Generator().manual_seed(1)
    noisy = torch.randn(2, 4, 32, 32, generator=generator)
    context = torch.randn(2, TOKENS, int(unet.config.cross_attention_dim), generator=generator)
    mask, columns = disc(1, mask_size), columns_at(8)
    seen: dict[str, tuple[Tensor, Tensor, Tensor]] = {}
    hooks = [
        module.register_forward_hook(
            lambda _, args, kwargs, out, name=name: seen.update(
                {name: (args[0], kwargs["encoder_hidden_states"], out)}
            ),
            with_kwargs=True,
        )
        for name, module in unet.named_modules()
        if name.endswith(".attn2")
    ]
    with torch.no_grad(), rectified_attention(unet, TokenMask(mask, columns)):
        unet(noisy, torch.tensor([500, 500]), encoder_hidden_states=context)
    for hook in hooks:
        hook.remove()
    layers: dict[str, nn.Module] = dict(unet.named_modules())
    sides = set()
    assert len(seen) == 3 + 1 + 3 * 2  # of the encoder, the middle and the decoder
    for name, (x, tokens, output) in seen.items():
        with torch.no_grad():
            expected, _ = attention_written_out(layers[name], x, tokens, mask, columns)  # type: ignore[arg-type]
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-4, msg=name)
        sides.add(int(x.shape[1] ** 0.5))
    assert sides == {32, 16, 8, 4}
