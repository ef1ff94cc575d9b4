"""Muon: momentum whose every matrix is made orthogonal before it is stepped along.

K. Jordan, Muon: An optimizer for hidden layers in neural networks (2024). PyTorch's own takes matrices alone and
multiplies in bfloat16, which most CPUs only emulate; convolutions are most of a U-Net.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

#: Jordan's quintic a x + b x³ + c x⁵: takes singular values of 0.01 to 1 to between 0.7 and 1.2 in five steps.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
#: Root mean square of an entry of a step; AdamW's is about this, so that both share a learning rate and a decay
#: (J. Liu et al., Muon is Scalable for LLM Training, 2025).
STEP_RMS = 0.2


def orthogonalize(matrix: Tensor) -> Tensor:
    """[m, n] with its singular values brought to about 1; those far below the largest stay small.

    Newton and Schulz's iteration on the smaller Gram matrix: all its polynomials commute, so that the matrix itself
    is multiplied once at the end.
    """
    a, b, c = QUINTIC
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    gram = wide @ wide.T
    product: Tensor | None = None
    for iteration in range(ITERATIONS):
        step = b * gram + c * (gram @ gram)
        step.diagonal().add_(a)
        product = step if product is None else step @ product
        if iteration + 1 < ITERATIONS:
            gram = step @ gram @ step
    assert product is not None
    wide = product @ wide
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """For matrices [m, n] and convolutions [m, n, h, w], which it takes for matrices [m, h w n]."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for q in group["params"]:
                if q.grad is None:
                    continue
                if not self.state[q]:
                    self.state[q]["average"] = torch.zeros_like(q)
                average = self.state[q]["average"]
                average.lerp_(q.grad, 1 - group["momentum"])
                ahead = q.grad.lerp(average, group["momentum"])  # Nesterov's
                rows = ahead.movedim(1, -1)
                matrix = rows.reshape(len(rows), -1)
                change = orthogonalize(matrix).view(rows.shape).movedim(-1, 1)
                rate = group["lr"] * STEP_RMS * max(matrix.shape) ** 0.5
                q.mul_(1 - group["lr"] * group["weight_decay"]).add_(change, alpha=-rate)
