"""How a training is watched: a bar while it runs, and the curve of its losses."""

from __future__ import annotations

from typing import Any

import numpy as np
from tqdm import tqdm

from mpod_pipeline.base.report import Report

#: (step, mean loss) of a training, once every so many steps; (timestep, error) of a denoiser.
Curve = list[tuple[int, float]]
CURVE_STEPS = 10


def watched(name: str) -> tuple[Report, Curve]:
    """A progress bar with the running mean of the loss, and the curve that fills as it is told: its means over
    ``CURVE_STEPS`` steps.
    """
    bar: tqdm[Any] = tqdm(desc=name, unit="step")
    recent: list[float] = []
    curve: Curve = []

    def report(step: int, total: int, losses: dict[str, float]) -> None:
        recent.append(losses["loss"])
        if step % CURVE_STEPS == 0 or step == total:
            curve.append((step, float(np.mean(recent[-CURVE_STEPS:]))))
        bar.total = total
        bar.n = step
        bar.set_postfix(loss=f"{np.mean(recent[-50:]):.4f}", refresh=False)
        bar.update(0)

    return report, curve
