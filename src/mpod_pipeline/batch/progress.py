"""How far a step is, with the time left, and the loss curves."""

from __future__ import annotations

import logging
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from functools import partial

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from mpod_pipeline.base.report import Report
from mpod_pipeline.base.stopping import stop_if_told

logger = logging.getLogger(__name__)

#: A curve keeps about this many points.
POINTS = 500
#: In a log, progress is told this often, however many products there are.
LOG_INTERVAL_S = 60.0

#: Loss curves: [step, value] pairs by the loss's name.
Curves = dict[str, list[tuple[int, float]]]


class LossCurves:
    """A report that keeps thin curves and passes every step on."""

    def __init__(self, show: Report) -> None:
        self._show = show
        self.curves: Curves = {}

    def __call__(self, step: int, total: int, losses: dict[str, float]) -> None:
        self._show(step, total, losses)
        if step % max(1, total // POINTS) == 0 or step == total:
            for name, value in losses.items():
                self.curves.setdefault(name, []).append((step, float(value)))


class StepProgress(AbstractContextManager["StepProgress"]):
    """One step's progress, while it is entered: bars on a terminal, else a line a minute in the log, and nothing where
    the log leaves INFO out.
    """

    def __init__(self, step: str, products: int) -> None:
        self._display = _Display()
        if products > 0 and logger.isEnabledFor(logging.INFO):
            self._display = (_Bars if sys.stderr.isatty() else _Lines)(step, products)

    def report_for(self, product: str) -> Report:
        """What shows the product's steps, as they are told or now and then."""
        return partial(self._show, product)

    def _show(self, product: str, step: int, total: int, losses: dict[str, float]) -> None:
        stop_if_told()
        self._display.step(product, step, total, losses)

    def done(self, product: str) -> None:
        self._display.done(product)

    def __exit__(self, *exception: object) -> None:
        self._display.close()


class _Display:
    """Shows nothing."""

    def step(self, product: str, step: int, total: int, losses: dict[str, float]) -> None: ...

    def done(self, product: str) -> None: ...

    def close(self) -> None: ...


class _Bars(_Display):
    """A bar of the products, and one of the steps of each product at work; the log's lines go above them."""

    def __init__(self, step: str, products: int) -> None:
        self._name = step
        self._products = _bar(step, products, "product", leave=True)
        self._steps: dict[str, tqdm] = {}
        self._log = ExitStack()
        self._log.enter_context(logging_redirect_tqdm())

    def step(self, product: str, step: int, total: int, losses: dict[str, float]) -> None:
        bar = self._steps.get(product)
        if bar is None:
            bar = self._steps[product] = _bar(f"{self._name} {product}", total, "step", leave=False)
        # one number: of all losses nothing would be left of the bar
        bar.set_postfix({"loss": f"{sum(losses.values()):.3g}"} if losses else {}, refresh=False)
        bar.update(step - bar.n)

    def done(self, product: str) -> None:
        if bar := self._steps.pop(product, None):
            bar.close()
        self._products.update()

    def close(self) -> None:
        for bar in (*self._steps.values(), self._products):
            bar.close()
        self._log.close()


def _bar(title: str, total: int, unit: str, leave: bool) -> tqdm:
    return tqdm(desc=title, total=total, unit=unit, leave=leave, mininterval=0.5, dynamic_ncols=True)


class _Lines(_Display):
    """Sentences in the log. The part of a product that is done counts for the time left."""

    def __init__(self, step: str, products: int) -> None:
        self._name, self._total, self._finished = step, products, 0
        self._parts: dict[str, tuple[int, int]] = {}
        self._began = self._told = time.monotonic()

    def step(self, product: str, step: int, total: int, losses: dict[str, float]) -> None:
        self._parts[product] = (step, total)
        self._tell_now_and_then()

    def done(self, product: str) -> None:
        self._parts.pop(product, None)
        self._finished += 1
        self._tell_now_and_then()

    def _tell_now_and_then(self) -> None:
        now = time.monotonic()
        if now - self._told < LOG_INTERVAL_S or self._finished == self._total:
            return
        self._told = now
        done = self._finished + sum(step / total for step, total in self._parts.values())
        left = f"{in_words((now - self._began) * (self._total - done) / done)} left" if done else "time left unknown"
        at_work = "".join(f"; {product}: step {n} of {total}" for product, (n, total) in self._parts.items())
        logger.info("%s: %d of %d products, %s%s", self._name, self._finished, self._total, left, at_work)


def in_words(seconds: float) -> str:
    """A duration as a person says it: 54 s, 12 min, 3 h 20 min."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
