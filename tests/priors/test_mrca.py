"""Mask rectified cross-attention against dense attention written out (paper Eq. 6-8)."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo
from diffusers.models.attention_processor import Attention
from torch import Tensor
from torch._dynamo.testing import CompileCounter
from torch.nn import functional as F

from mpod_pipeline.priors import TextToImagePrior
from mpod_pipeline.priors.mrca import RectifiedAttention, TokenMask, rectified_attention

COLUMNS = torch.tensor([False, False, True, False, True, False])


def _layer(dtype: torch.dtype = torch.float32) -> Attention:
    torch.manual_seed(0)
    return Attention(query_dim=24, cross_attention_dim=10, heads=3, dim_head=8).to(dtype)


def _mask(batch: int, size: int) -> Tensor:
    mask = torch.zeros(batch, 1, size, size)
    mask[:, :, size // 4 : size // 2, : size // 2] = 1
    return mask


def _by_hand(layer: Attention, x: Tensor, context: Tensor, mask: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Equations 6, 8 and 7, head by head; returns the output and the weights [B, heads, HW, L]."""
    batch, queries, _ = x.shape
    side = int(queries**0.5)
    inside = F.adaptive_max_pool2d(mask, (side, side)).reshape(len(mask), queries) > 0.5
    q, k, v = layer.to_q(x), layer.to_k(context), layer.to_v(context)
    outputs, weights = [], []
    for h in range(layer.heads):
        part = slice(8 * h, 8 * h + 8)
        scores = q[..., part] @ k[..., part].transpose(1, 2) / 8**0.5
        for b in range(batch // 2, batch):
            for column in torch.nonzero(columns)[:, 0]:
                scores[b, ~inside[b - batch // 2], column] = float("-inf")
        weights.append(scores.softmax(-1))
        outputs.append(weights[-1] @ v[..., part])
    return layer.to_out[0](torch.cat(outputs, dim=-1)), torch.stack(weights, dim=1)


@pytest.mark.parametrize("side", [4, 8, 16])
@pytest.mark.parametrize("mask_size", [8, 64])
def test_a_layer_is_equations_6_to_8(side: int, mask_size: int) -> None:
    layer = _layer()
    generator = torch.Generator().manual_seed(1)
    x, context = (torch.randn(4, side * side, 24, generator=generator), torch.randn(4, 6, 10, generator=generator))
    mask = _mask(2, mask_size)
    ours = RectifiedAttention(TokenMask(mask, COLUMNS))(layer, x, context)
    expected, weights = _by_hand(layer, x, context, mask, COLUMNS)
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, 3, side * side))
    inside = F.adaptive_max_pool2d(mask, (side, side)).reshape(2, -1) > 0.5
    outside = ~inside[:, None, :, None].expand(-1, 3, -1, int(COLUMNS.sum()))
    assert (weights[2:][..., COLUMNS][outside] == 0).all()
    assert (weights[:2][..., COLUMNS] > 0).all()  # the unconditional half is left alone


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_stays_finite(dtype: torch.dtype) -> None:
    layer = _layer(dtype)
    x, context = torch.randn(2, 64, 24).to(dtype) * 30, torch.randn(2, 6, 10).to(dtype) * 30
    out = RectifiedAttention(TokenMask(torch.zeros(1, 1, 8, 8), COLUMNS))(layer, x, context)
    assert out.dtype == dtype
    assert out.isfinite().all()


def test_a_full_mask_changes_nothing(text_to_image: TextToImagePrior) -> None:
    generator = torch.Generator().manual_seed(0)
    noisy = torch.randn(1, 4, 8, 8, generator=generator)
    t = torch.tensor([400])
    token = torch.randn(text_to_image.token_dim, generator=generator)
    with torch.no_grad():
        prompt, nothing = (text_to_image.encode_prompt("a photo of <e>", token), text_to_image.encode_prompt(""))
        plain = text_to_image.predict(noisy, t, [prompt], nothing, 5.0)
        full = text_to_image.predict(
            noisy, t, [prompt], nothing, 5.0, TokenMask(torch.ones(1, 1, 32, 32), prompt.token_columns)
        )
        none = text_to_image.predict(
            noisy, t, [prompt], nothing, 5.0, TokenMask(torch.zeros(1, 1, 32, 32), prompt.token_columns)
        )
    torch.testing.assert_close(plain, full, atol=1e-4, rtol=1e-4)
    assert (plain - none).abs().max() > 1e-3


def test_only_cross_attention_is_rectified_and_all_is_put_back(text_to_image: TextToImagePrior) -> None:
    before = dict(text_to_image.unet.attn_processors)
    with rectified_attention(text_to_image.unet, TokenMask(torch.ones(1, 1, 8, 8), COLUMNS)):
        for name, processor in text_to_image.unet.attn_processors.items():
            assert isinstance(processor, RectifiedAttention) == (".attn2." in name)
    assert text_to_image.unet.attn_processors == before


def test_a_compiled_unet_stays_valid_from_one_mask_to_the_next(text_to_image: TextToImagePrior) -> None:
    """Two graphs in all, with a mask and without: nothing is compiled again for another mask."""
    counter = CompileCounter()
    torch._dynamo.reset()
    unet = torch.compile(text_to_image.unet, backend=counter)
    size, width = text_to_image.unet.config.sample_size, text_to_image.token_dim
    generator = torch.Generator().manual_seed(3)
    noisy = torch.randn(2, 4, size, size, generator=generator)
    context = torch.randn(2, 6, width, generator=generator)
    timesteps = torch.tensor([500, 500])
    masks = [None, TokenMask(torch.ones(1, 1, 8, 8), COLUMNS), TokenMask(_mask(1, 8), COLUMNS), None]
    counts, seen = [], []
    for mask in masks:
        with torch.no_grad(), rectified_attention(text_to_image.unet, mask):
            dtype = text_to_image.unet.dtype
            seen.append(unet(noisy.to(dtype), timesteps, encoder_hidden_states=context.to(dtype)).sample)
        counts.append(counter.frame_count)
    assert counts[1:] == [counts[1]] * 3 and counts[1] == 2 * counts[0]
    assert torch.equal(seen[0], seen[3]) and not torch.equal(seen[1], seen[2])
