"""Which models a person is likely to reject: a guess from the scores, to look at those first.

Nobody's decisions are behind the weights yet. They say which scores of a model went with a bad look in the results that
we have, and by how much: each gives a chance of rejection, and the doubt is the chance that one of them is right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: The chance that each flag gives.
FLAG = 0.35


@dataclass(frozen=True)
class Sign:
    """A score that speaks against a model: not at ``good``, wholly at ``bad``, then with the chance ``weight``."""

    score: str
    good: float
    bad: float
    weight: float

    def chance(self, found: float) -> float:
        return self.weight * min(1.0, max(0.0, (self.good - found) / (self.good - self.bad)))


SIGNS = (
    Sign("cutout_confidence", good=1.0, bad=0.6, weight=0.6),
    Sign("photo_iou", good=1.0, bad=0.8, weight=0.8),
    Sign("photo_psnr", good=38.0, bad=18.0, weight=0.6),
    Sign("pieces", good=1.0, bad=4.0, weight=0.5),
    Sign("watertight", good=1.0, bad=0.0, weight=0.2),
    Sign("word_similarity", good=0.7, bad=0.1, weight=0.3),
    Sign("mvc", good=0.85, bad=0.4, weight=0.3),
)


def doubt(scores: Mapping[str, Any]) -> float:
    """From 0 to 1. scores: an evaluation's, in which a score's name may end with its network's; absent ones say
    nothing.
    """
    fine = 1.0
    for sign in SIGNS:
        found = next((value for name, value in scores.items() if _is(name, sign.score)), None)
        if isinstance(found, int | float):
            fine *= 1 - sign.chance(float(found))
    for _ in filter(None, str(scores.get("flags", "")).split("; ")):
        fine *= 1 - FLAG
    return round(1 - fine, 3)


def _is(name: str, score: str) -> bool:
    return name == score or name.startswith(f"{score}_efficientnet")
