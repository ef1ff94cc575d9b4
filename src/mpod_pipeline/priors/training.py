"""Training of the small family: one loop for all networks, resumable to the step.

The batch of step k depends on the seed and k alone, its noise also on the kind of device where it is drawn; and a
checkpoint holds weights, moving averages and the optimiser. So a run that was killed goes on where an undisturbed one
would have been: exactly on a CPU, up to rounding on a GPU, whose kernels add in varying order.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt
from torch import Tensor, nn

from mpod_pipeline.base.atomic import whole_file
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.base.report import Report
from mpod_pipeline.priors.loading import cpu_has_bfloat16
from mpod_pipeline.priors.muon import Muon
from mpod_pipeline.priors.networks import device_of


class TrainingParameters(Parameters):
    """One network's training."""

    steps: PositiveInt
    batch_size: PositiveInt = 32
    learning_rate: PositiveFloat = 8e-4
    warmup_steps: NonNegativeInt = 200
    decay_steps: NonNegativeInt = Field(0, description="last steps over which the learning rate falls to a tenth")
    weight_decay: float = Field(0.01, ge=0)
    ema_decay: float = Field(0.999, gt=0, lt=1)
    checkpoint_every: PositiveInt = 250
    seed: NonNegativeInt = 0


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the hardware multiplies it natively; elsewhere emulation would be slower than float32."""
    native = device.type == "cuda" or cpu_has_bfloat16()
    return torch.autocast(device.type, torch.bfloat16, enabled=native)


def step_generator(
    seed: int, step: int, device: torch.device | str = "cpu"
) -> tuple[np.random.Generator, torch.Generator]:
    """The random streams of one step: of its batch, and of its noise on ``device``."""
    rng = np.random.default_rng([seed, step])
    return rng, torch.Generator(device).manual_seed(int(rng.integers(1 << 62)))


def learning_rate(p: TrainingParameters, step: int) -> float:
    warm = min(1.0, (step + 1) / max(p.warmup_steps, 1))
    left = p.steps - step
    cool = 1.0 if left > p.decay_steps else 0.1 + 0.9 * left / p.decay_steps
    return p.learning_rate * warm * cool


def make_optimizers(network: nn.Module, p: TrainingParameters) -> list[torch.optim.Optimizer]:
    """Muon for what multiplies features by features; AdamW for biases, norms, embeddings and first and last layers."""
    edges = ("conv_in.", "conv_out.", "embedding", "time_emb")
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            inner = parameter.ndim > 1 and not any(edge in name for edge in edges)
            (matrices if inner else others).append(parameter)
    return [
        Muon(matrices, lr=p.learning_rate, weight_decay=p.weight_decay),
        torch.optim.AdamW(others, lr=p.learning_rate, weight_decay=p.weight_decay, betas=(0.9, 0.99), fused=True),
    ]


def fingerprint(network: nn.Module) -> int:
    """A checksum of its weights."""
    checksum = 0
    for weight in network.state_dict().values():
        checksum = zlib.crc32(weight.detach().cpu().contiguous().numpy().tobytes(), checksum)
    return checksum


def fit(
    network: nn.Module,
    loss_of_step: Callable[[Any, int], Tensor],
    p: TrainingParameters,
    checkpoint: Path,
    report: Report,
    data: int = 0,
) -> nn.Module:
    """Train ``network`` on ``loss_of_step(network, step)`` and return it holding its moving averages.

    Goes on from ``checkpoint`` where that exists, telling ``report`` of the steps behind it, and leaves one there.
    data: a checksum of what must be the same for that.
    Raises FloatingPointError on a loss that is not finite: the checkpoint is then still the last good one.
    Raises SetupError where the checkpoint is of a training on other data, from other weights or with another seed.
    """
    start = {"seed": p.seed, "weights": fingerprint(network), "data": data}
    trained = [q for q in network.parameters() if q.requires_grad]
    optimizers = make_optimizers(network, p)
    averages = [q.detach().clone() for q in trained]
    losses: list[float] = []
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device_of(network), weights_only=True)
        if {**start, **state["start"]} != start:
            raise SetupError(
                f"{checkpoint} is of a training on the latents of another autoencoder or on other models, or one that "
                "started from other weights or with another seed; delete it to train from these, or start from those "
                "to go on with it"
            )
        network.load_state_dict(state["network"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        averages, losses = state["averages"], state["losses"]
        for step, value in enumerate(losses):
            report(step + 1, p.steps, {"loss": value})

    network.train()
    for step in range(len(losses), p.steps):
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(p, step)
        loss = loss_of_step(network, step)
        value = float(loss.detach())
        if not np.isfinite(value):
            raise FloatingPointError(f"the loss of step {step} is {value}")
        network.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for optimizer in optimizers:
            optimizer.step()
        decay = min(p.ema_decay, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(averages, list[Tensor](trained), 1 - decay)
        losses.append(value)
        if (step + 1) % p.checkpoint_every == 0 or step + 1 == p.steps:
            state = {
                "start": start,
                "network": network.state_dict(),
                "optimizers": [optimizer.state_dict() for optimizer in optimizers],
                "averages": averages,
                "losses": losses,
            }
            with whole_file(checkpoint) as path:
                torch.save(state, path)
        report(step + 1, p.steps, {"loss": value})

    with torch.no_grad():
        for parameter, average in zip(trained, averages, strict=True):
            parameter.copy_(average)
    return network.eval()
