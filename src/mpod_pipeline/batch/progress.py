"""Progress bars with the time left, and the loss curves."""

from __future__ import annotations

import io
import logging
import sys
from functools import partial
from typing import Any

from tqdm import tqdm

from mpod_pipeline.report import Report

logger = logging.getLogger(__name__)

#: A curve keeps about this many points.
POINTS = 500
#: In a log, progress is told this often, however many products there are.
LOG_INTERVAL_S = 60.0

#: Loss curves: [step, value] pairs by the loss's name.
Curves = dict[str, list[tuple[int, float]]]


class _LogLines(tqdm):
    """A bar for where no terminal is: whole lines to the log instead of one line drawn over and over."""

    def __init__(self, **options: Any) -> None:
        interval = LOG_INTERVAL_S
        options |= {"mininterval": interval, "maxinterval": interval, "delay": interval}
        super().__init__(**options, file=io.StringIO(), ncols=80)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        if msg is None:  # otherwise the bar is about to be wiped out
            logger.info("%s", self)


def progress_bar(**options: Any) -> tqdm:
    """A bar on a terminal, a line a minute in a log, nothing in a log that leaves INFO out."""
    options["disable"] = options.get("disable", False) or not logger.isEnabledFor(logging.INFO)
    if sys.stderr.isatty():
        return tqdm(**options, mininterval=0.5, dynamic_ncols=True)
    return _LogLines(**options)


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


class StageProgress:
    """Bars for one stage: its products, and for each product at work the steps that are reported."""

    def __init__(self, stage: str, products: int) -> None:
        self._stage = stage
        self._products = progress_bar(desc=stage, total=products, unit="product", disable=products == 0)
        self._steps: dict[str, tqdm] = {}

    def report_for(self, product: str) -> Report:
        """What shows the product's steps, as they are told or now and then."""
        return partial(self._show, product)

    def _show(self, product: str, step: int, total: int, losses: dict[str, float]) -> None:
        bar = self._steps.get(product)
        if bar is None:
            bar = progress_bar(desc=f"{self._stage} {product}", total=total, unit="step", leave=False)
            self._steps[product] = bar
        bar.set_postfix({name: f"{value:.3g}" for name, value in losses.items()}, refresh=False)
        bar.update(step - bar.n)

    def done(self, product: str) -> None:
        if bar := self._steps.pop(product, None):
            bar.close()
        self._products.update()

    def __enter__(self) -> StageProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        for bar in self._steps.values():
            bar.close()
        self._products.close()
