"""The loop of every optimisation: it notices when one goes astray, and goes on where a killed run was."""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.report import Report
from mpod_pipeline.base.threads import side_by_side

#: A state is good once so many more steps went well, and is then the one to go back to.
GOOD_AFTER = 10
#: An optimisation has diverged when its loss, the median of so many steps, exceeds its losses' first values so many
#: times. (In sound runs of all stages it stays below twice these; a single step's loss is noisy.)
MEDIAN_OF = 5
DIVERGED = 10.0
#: But for losses whose value means nothing, only their gradient: that of score distillation goes with the noise level.
WITHOUT_MEASURE = frozenset({"sds", "text_sds", "novel_view_sds"})
#: The factor on all learning rates when it is tried again.
LOWER_STEP = 0.25

logger = logging.getLogger(__name__)

State = dict[str, Any]
Losses = dict[str, Tensor]
#: Some of a step's losses, by name; to be made and differentiated on whatever thread, beside the other parts.
LossPart = Callable[[], Losses]


@dataclass
class Optimisation:
    """Minimises a sum of losses over a fixed number of steps.

    name: what is optimised, as the subject of a sentence. module: all that the steps change, parameters and buffers.
    generator: the only source of random numbers. Both, and the optimizer, are the caller's own objects.
    """

    name: str
    module: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    steps: int
    _past: list[dict[str, float]] = field(default_factory=list, init=False)  # the losses of the steps behind
    _lowered: bool = field(default=False, init=False)

    def run(
        self,
        losses_of: Callable[[int], Losses | list[LossPart]],
        report: Report,
        checkpoint: Checkpoint | None = None,
        enough: Callable[[Sequence[dict[str, float]]], bool] = lambda past: False,
    ) -> None:
        """Do the steps; ``losses_of(step)`` gives the losses by name, and may change the module's buffers. Or it gives
        them in parts, which have no tensor with a gradient in common beside the parameters; losses of one name are
        summed. ``enough(past)`` ends them early; past: the losses of the steps so far.

        Where losses or gradients are not finite, the loss explodes, or ``losses_of`` raises ProductError, it goes back
        by 10 to 20 steps and on from there with smaller steps and other random numbers; where that happens again,
        ProductError. With a checkpoint, a run that was killed goes on, and ends with what it would have ended with;
        bit for bit where the device computes deterministically.
        """
        if checkpoint and (state := checkpoint.load()):
            self._restore(state)
            self.generator.set_state(state["random"])
            for step, losses in enumerate(self._past):
                report(step + 1, self.steps, losses)
        good = latest = self._state()
        written = time.monotonic()
        while (step := len(self._past)) < self.steps and not enough(self._past):
            if step % GOOD_AFTER == 0 and step > latest["step"]:
                good, latest = latest, self._state()
                if checkpoint and time.monotonic() - written >= checkpoint.every_seconds:
                    checkpoint.save(good)
                    written = time.monotonic()
            try:
                self._do(step, losses_of)
            except ProductError as error:
                if self._lowered:
                    raise
                self._go_back(good, error)
                latest = good
                continue
            report(step + 1, self.steps, self._past[-1])

    def _do(self, step: int, losses_of: Callable[[int], Losses | list[LossPart]]) -> None:
        """One step, taken only if losses and gradients are sound, so that the state stays sound too."""
        parameters = [parameter for parameter in self.module.parameters() if parameter.requires_grad]
        asked = losses_of(step)
        given = asked if isinstance(asked, list) else [_made(asked)]
        device, work = parameters[0].device, partial(differentiated, parameters=parameters)
        with in_one_order_on_cpu(device):
            parts = side_by_side(work, given) if device.type == "cpu" else [work(part) for part in given]
        losses: dict[str, float] = {}
        for part, _ in parts:
            losses |= {name: losses.get(name, 0.0) + value for name, value in part.items()}
        self._past.append(losses)
        if not isfinite(sum(losses.values())):
            raise ProductError(f"{self.name} diverged at step {step + 1} (its loss is not a number).")
        if has_diverged(self._past):
            raise ProductError(f"{self.name} diverged at step {step + 1} (its loss grew beyond measure).")
        for parameter, *gradients in zip(parameters, *(part for _, part in parts), strict=True):
            known = [gradient.contiguous() for gradient in gradients if gradient is not None]
            parameter.grad = sum(known[1:], known[0]) if known else None
        if not _finite_gradients(parameters):
            raise ProductError(f"{self.name} diverged at step {step + 1} (its gradient is not a number).")
        self.optimizer.step()

    def _go_back(self, good: State, error: ProductError) -> None:
        self._restore(good)
        for group in self.optimizer.param_groups:
            group["lr"] *= LOWER_STEP
        self._lowered = True
        logger.warning(
            "%s Trying once more from step %d with steps of %g times the size.", error, good["step"], LOWER_STEP
        )

    def _state(self) -> State:
        return {
            "step": len(self._past),
            "past": list(self._past),
            "lowered": self._lowered,
            "module": copy.deepcopy(self.module.state_dict()),
            "optimizer": copy.deepcopy(self.optimizer.state_dict()),
            "random": self.generator.get_state(),
        }

    def _restore(self, state: State) -> None:
        """Everything except the random numbers, which need not be the same when it is tried again."""
        self._past = list(state["past"])
        self._lowered = state["lowered"]
        self.module.load_state_dict(state["module"])
        # A copy, or the optimizer would go on in the tensors of the state.
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))


def _made(losses: Losses) -> LossPart:
    return lambda: losses


def differentiated(
    part: LossPart, parameters: Sequence[nn.Parameter]
) -> tuple[dict[str, float], tuple[Tensor | None, ...]]:
    """A part's losses by name, and the gradient of their sum to each of the parameters; None for one without."""
    losses = part()
    values = [value for value in losses.values() if value.requires_grad]
    gradients: tuple[Tensor | None, ...] = (None,) * len(parameters)
    if values:
        gradients = torch.autograd.grad(torch.stack(values).sum(), parameters, allow_unused=True)
    return {name: float(value.detach()) for name, value in losses.items()}, gradients


@contextmanager
def in_one_order_on_cpu(device: torch.device) -> Iterator[None]:
    """Gradients of rows that are used more than once are summed in one order, whatever the threads do: equal runs end
    equal, killed or not. (On a GPU it would cost too much.)
    """
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(before or device.type == "cpu", warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def has_diverged(past: Sequence[dict[str, float]]) -> bool:
    """Whether the losses of the steps so far, by name, have grown beyond measure."""
    first: dict[str, float] = {}
    for losses in past[: 4 * MEDIAN_OF]:  # a loss need not be part of every step
        first = {**_measured(losses), **first}
    # What begins later has no first value to be compared with.
    recent = [sum(value for name, value in losses.items() if name in first) for losses in past[-MEDIAN_OF:]]
    return len(recent) == MEDIAN_OF and statistics.median(recent) > DIVERGED * sum(first.values())


def _measured(losses: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in losses.items() if name not in WITHOUT_MEASURE}


def _finite_gradients(parameters: Iterable[nn.Parameter]) -> bool:
    norms = [parameter.grad.norm() for parameter in parameters if parameter.grad is not None]
    return bool(torch.isfinite(torch.stack(norms)).all())
