"""Progress bars with the time left, and the loss curves."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

#: A curve keeps about this many points.
POINTS = 500

#: Loss curves: [step, value] pairs by the loss's name.
Curves = dict[str, list[tuple[int, float]]]


def progress_bar(**options: Any) -> tqdm:
    """A bar on a terminal; in a log file, a line every ten seconds."""
    interval = 0.5 if sys.stderr.isatty() else 10.0
    return tqdm(mininterval=interval, dynamic_ncols=True, **options)


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
        if self._steps is None:
            description = f"{self._stage} {self._product}"
            self._steps = progress_bar(desc=description, total=total, unit="step", leave=False)
        self._steps.update(step - self._steps.n)
        if step % max(1, total // POINTS) == 0 or step == total:
            self._steps.set_postfix({name: f"{value:.3g}" for name, value in losses.items()}, refresh=False)
            for name, value in losses.items():
                self.curves.setdefault(name, []).append((step, float(value)))

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
