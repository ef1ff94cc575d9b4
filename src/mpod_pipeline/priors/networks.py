"""What is asked of a network of diffusers at every step."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from mpod_pipeline.base.threads import on_pythons_threads


def dtype_of(network: nn.Module) -> torch.dtype:
    """The precision of a network's weights. The ``dtype`` of diffusers walks through all modules at each call, which
    takes longer than some of the work.
    """
    return next(network.parameters()).dtype


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are, without the walk of diffusers' ``device``."""
    return next(network.parameters()).device


#: Parameters of a prior whose operations are short: our own have 14 and 18 million, full-size ones a thousand.
SMALL = 40_000_000


def threads_for(*networks: nn.Module | None) -> AbstractContextManager[None]:
    """Within, small networks are asked on Python's threads; PyTorch's own share out the operations of larger ones."""
    sizes = (sum(p.numel() for p in network.parameters()) for network in networks if network is not None)
    return on_pythons_threads() if max(sizes, default=0) < SMALL else nullcontext()


#: A network that was asked so often about tensors of one shape will be asked again. A record takes a second to make.
WORTH_RECORDING = 24

_RECORDING = Lock()


class Recorded:
    """A network's answer to tensors. While it is frozen, its operations are recorded on a CPU, and replayed without
    Python.

    Python's lock lets one thread at a time say what is next, and that is half of the time of two threads that ask a
    small network. TorchScript's replay needs no lock. It is not allowed to optimise: so it gives equal bits, and equal
    gradients. (It is deprecated; what is to replace it needs a compiler, or Python.)
    """

    def __init__(self, network: nn.Module, ask: Callable[..., Tensor]) -> None:
        self._network, self._ask = network, ask
        self._asked: Counter[Any] = Counter()
        self._records: dict[Any, Callable[..., Tensor]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        if inputs[0].device.type != "cpu" or next(self._network.parameters()).requires_grad:
            return self._ask(*inputs)
        kind = tuple((each.shape, each.dtype) for each in inputs)
        record = self._records.get(kind) or self._record(kind, inputs)
        if record is None:
            return self._ask(*inputs)
        with torch.jit.optimized_execution(False):  # type: ignore[attr-defined, no-untyped-call]
            return record(*inputs)

    def _record(self, kind: Any, inputs: tuple[Tensor, ...]) -> Callable[..., Tensor] | None:
        """The record for inputs of this kind, if it is worth one by now."""
        with _RECORDING:
            self._asked[kind] += 1
            if self._asked[kind] == WORTH_RECORDING:
                self._records[kind] = _record_of(self._ask, tuple(each.detach() for each in inputs))
            return self._records.get(kind)


def _record_of(ask: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    """TorchScript of what is done to inputs of this shape, with the network's weights in it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is deprecated, and that it holds for one shape
        # PyTorch takes functions, but no methods.
        return torch.jit.trace(lambda *inputs: ask(*inputs), inputs, check_trace=False)  # type: ignore[no-any-return]
