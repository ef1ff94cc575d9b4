"""Progress bars with the time left, and the loss curves."""

from __future__ import annotations

import io
import logging
import sys
from typing import Any

from tqdm import tqdm

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


class StageProgress:
    """Bars for one stage: its products, and within a product the steps that the work reports."""

    def __init__(self, stage: str, products: int) -> None:
        self._stage = stage
        self._products = progress_bar(desc=stage, total=products, unit="product", disable=products == 0)
        self._steps: tqdm | None = None
        self._product = ""
        self.curves: Curves = {}

    def report_for(self, product: str) -> StageProgress:
        """Begin a product; the curves of the one before are gone."""
        self._close_steps()
        self._product, self.curves = product, {}
        return self

    def __call__(self, step: int, total: int, losses: dict[str, float]) -> None:
        """Take note of a step. One that was there before: what came after it no longer holds."""
        if self._steps is None:
            description = f"{self._stage} {self._product}"
            self._steps = progress_bar(desc=description, total=total, unit="step", leave=False)
        self._steps.update(step - self._steps.n)
        if step % max(1, total // POINTS) == 0 or step == total:
            self._steps.set_postfix({name: f"{value:.3g}" for name, value in losses.items()}, refresh=False)
            for name, value in losses.items():
                curve = self.curves.setdefault(name, [])
                while curve and curve[-1][0] >= step:
                    curve.pop()
                curve.append((step, float(value)))

    def product_done(self) -> None:
        self._close_steps()
        self._products.update()

    def __enter__(self) -> StageProgress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close_steps()
        self._products.close()

    def _close_steps(self) -> None:
        if self._steps is not None:
            self._steps.close()
            self._steps = None
