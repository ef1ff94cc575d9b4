"""What the full-size models need of a GPU's memory, worked out without one.

    python benchmarks/gpu_memory.py

Networks of the originals' configs run one step of each stage on PyTorch's fake tensors, which have shapes and no
contents, and the largest sum of what is alive at once is printed: weights, what autograd keeps, what kernels return.
Scratch space inside kernels, the CUDA context (about 0.5 GiB), fragmentation, the field and the mesh are not in it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from mpod_pipeline.priors.latents import encode_pictures

GIB = 2**30
HALF = torch.float16


def in_dtype(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    torch.set_default_dtype(dtype)
    try:
        return make().eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(torch.float32)


def autoencoder() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(128, 256, 512, 512),
        layers_per_block=2,
        latent_channels=4,
    )


def unet(in_channels: int, context: int, heads: int | tuple[int, ...] = 8) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        in_channels=in_channels,
        cross_attention_dim=context,
        attention_head_dim=heads,
        use_linear_projection=context == 1024,
    )


def text_encoder(width: int, layers: int, heads: int) -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=width,
            intermediate_size=4 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            max_position_embeddings=77,
        )
    )


def image_encoder() -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(
        CLIPVisionConfig(
            hidden_size=1024,
            intermediate_size=4096,
            projection_dim=768,
            num_hidden_layers=24,
            num_attention_heads=16,
            patch_size=14,
        )
    )


class LiveBytes(TorchDispatchMode):
    """Adds up the storages that operators return, for as long as something holds them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: weakref.WeakSet[Any] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        before = {id(t.untyped_storage()) for t in tree_iter((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_iter(result):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in before and storage not in self._known:
                    self._known.add(storage)
                    self._count(storage.nbytes())
                    weakref.finalize(storage, self._count, -storage.nbytes())
        return result

    def _count(self, change: int) -> None:
        self.now += change
        self.peak = max(self.peak, self.now)


def peak(networks: list[nn.Module], step: Callable[[], None]) -> tuple[float, float]:
    """(weights, everything at the worst moment of a step), GiB."""
    weights = sum(p.numel() * p.element_size() for network in networks for p in network.parameters())
    with LiveBytes() as live:
        step()
    return weights / GIB, (weights + live.peak) / GIB


def distillation(
    vae: AutoencoderKL, network: UNet2DConditionModel, size: int, batch: int, context: Tensor, slicing: bool
) -> Callable[[], None]:
    """One SDS step: encode with a gradient, predict with guidance and without one."""

    def step() -> None:
        vae.use_slicing = slicing
        pictures = torch.rand(batch, 3, size, size, requires_grad=True)
        latents = encode_pictures(vae, pictures)
        with torch.no_grad():
            channels = network.config.in_channels // 4
            x = torch.cat([latents.to(HALF)] * channels, dim=1).repeat(2, 1, 1, 1)
            network(x, torch.zeros(2 * batch), encoder_hidden_states=context.expand(2 * batch, -1, -1))
        latents.square().mean().backward()

    return step


def inversion(
    vae: AutoencoderKL, network: UNet2DConditionModel, text: CLIPTextModel, size: int, batch: int
) -> Callable[[], None]:
    """One step of textual inversion: the gradient goes through U-Net and text encoder to the token."""
    width = text.config.hidden_size

    def step() -> None:
        with torch.no_grad():
            latents = vae.encode(torch.rand(batch, 3, size, size, dtype=HALF)).latent_dist.mode()
        embeddings = torch.rand(batch, 77, width, requires_grad=True)
        context = text_layers(text, embeddings).to(HALF)
        out = network(latents, torch.zeros(batch), encoder_hidden_states=context).sample
        out.float().square().mean().backward()

    return step


def text_layers(text: CLIPTextModel, embeddings: Tensor) -> Tensor:
    handle = text.get_input_embeddings().register_forward_hook(lambda *_: embeddings)
    try:
        ids = torch.zeros(embeddings.shape[:2], dtype=torch.long)
        return text(input_ids=ids).last_hidden_state
    finally:
        handle.remove()


def main() -> None:
    print(f"{'stage':<36}{'':<8}{'batch':>6}{'weights':>9}{'peak':>7}  GiB")
    with FakeTensorMode():
        vae = in_dtype(autoencoder, HALF)
        novel = [vae, in_dtype(lambda: unet(8, 768), HALF), in_dtype(image_encoder, HALF)]
        families = {
            "Stable Diffusion 1.5": (512, unet(4, 768), text_encoder(768, 12, 12), 768),
            "Stable Diffusion 2.1": (768, unet(4, 1024, (5, 10, 20, 20)), text_encoder(1024, 23, 16), 1024),
        }
        for slicing, batches in ((False, (1, 2, 4, 8)), (True, (8, 64))):
            for batch in batches:
                context = torch.rand(1, 1, 768, dtype=HALF)
                step = distillation(vae, novel[1], 256, batch, context, slicing)
                report("optimize_outline, Zero-1-to-3", batch, novel, step, slicing)
        for name, (size, _, _, width) in families.items():
            heads = 8 if width == 768 else (5, 10, 20, 20)
            network = in_dtype(lambda width=width, heads=heads: unet(4, width, heads), HALF)
            text = families[name][2].eval().requires_grad_(False)
            for batch in (1, 2, 4):
                step = inversion(vae, network, text, size, batch)
                report(f"learn_tokens, {name}", batch, [vae, network, text], step)
            for slicing, batches in ((False, (1, 2, 4)), (True, (8, 32))):
                for batch in batches:
                    context = torch.rand(1, 77, width, dtype=HALF)
                    step = distillation(vae, network, size, batch, context, slicing)
                    report(f"refine_detail, {name}", batch, [vae, network, text], step, slicing)


def report(stage: str, batch: int, networks: list[nn.Module], step: Callable[[], None], slicing: bool = False) -> None:
    weights, total = peak(networks, step)
    print(f"{stage:<36}{'sliced' if slicing else '':<8}{batch:>6}{weights:>9.2f}{total:>7.2f}", flush=True)


if __name__ == "__main__":
    main()
