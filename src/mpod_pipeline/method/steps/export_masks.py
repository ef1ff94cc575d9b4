"""Render every outline's opacity and mask from a fixed set of cameras (paper, Eq. 3-5)."""

from __future__ import annotations

from typing import Any

from mpod_pipeline.method.masks import MaskParameters, export_masks
from mpod_pipeline.method.steps import Given

Settings = MaskParameters


def make(models: None, given: Given) -> dict[str, Any]:
    return {"outline_masks": export_masks(given["field"], given.settings)}
