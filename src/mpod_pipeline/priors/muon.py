"""Muon: momentum whose every matrix is made orthogonal before it is stepped along.

K. Jordan, Muon: An optimizer for hidden layers in neural networks (2024). PyTorch's own takes matrices alone and
multiplies in bfloat16, which most CPUs only emulate; convolutions are most of a U-Net.
"""

from __future__ import annotations

from collections import defaultdict
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
    """[..., m, n] with their singular values brought to about 1; those far below the largest stay small.

    Newton and Schulz's iteration on the smaller Gram matrix: all its polynomials commute, so that the matrix itself
    is multiplied once at the end.
    """
    a, b, c = QUINTIC
    tall = matrix.shape[-2] > matrix.shape[-1]
    wide = matrix.mT if tall else matrix
    wide = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    gram = wide @ wide.mT
    product: Tensor | None = None
    for iteration in range(ITERATIONS):
        step = b * gram + c * (gram @ gram)
        step.diagonal(dim1=-2, dim2=-1).add_(a)
        product = step if product is None else step @ product
        if iteration + 1 < ITERATIONS:
            gram = step @ gram @ step
    assert product is not None
    wide = product @ wide
    return wide.mT if tall else wide


class Muon(torch.optim.Optimizer):
    """For matrices [m, n] and convolutions [m, n, h, w], which it takes for matrices [m, h w n]."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            alike: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for q in group["params"]:
                if q.grad is not None:
                    alike[q.shape].append(q)
            for some in alike.values():  # those of one shape at once: a GPU would wait for each by itself
                rows = torch.stack([self._ahead(q, group["momentum"]).movedim(1, -1) for q in some])
                matrices = rows.flatten(2)
                changes = orthogonalize(matrices).view(rows.shape).movedim(-1, 2)
                rate = group["lr"] * STEP_RMS * max(matrices.shape[1:]) ** 0.5
                torch._foreach_mul_(list[Tensor](some), 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(list[Tensor](some), list(changes), alpha=-rate)

    def _ahead(self, q: nn.Parameter, momentum: float) -> Tensor:
        """Nesterov's look along the average of gradients."""
        assert q.grad is not None
        if not self.state[q]:
            self.state[q]["average"] = torch.zeros_like(q)
        average: Tensor = self.state[q]["average"]
        average.lerp_(q.grad, 1 - momentum)
        return q.grad.lerp(average, momentum)
