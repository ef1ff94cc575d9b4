"""Cut every photo's product out, RGBA, squared, upright; and say how sure that is."""

from __future__ import annotations

from typing import Any

from mpod_pipeline.cutout.photos import decode_mask, decode_photo
from mpod_pipeline.method.segmentation import (
    SegmentationModels,
    SegmentationParameters,
    load_segmentation_models,
    segment,
)
from mpod_pipeline.method.steps import Given

Settings = SegmentationParameters
load = load_segmentation_models
#: What is said of a product whose cutout somebody should look at.
CHECK = "check the cutout"


def make(models: SegmentationModels, given: Given) -> dict[str, Any]:
    photo = decode_photo(given["photo"])
    drawn = given["mask"]
    mask = None if drawn is None else decode_mask(drawn, photo, given["photo"])
    cutout = segment(photo, given.settings, models, mask)
    return {
        "cutouts": cutout.picture,
        "cutout_checks": {
            "cutout_confidence": round(cutout.confidence, 3),
            "flags": CHECK if cutout.confidence < given.settings.check_below else "",
        },
    }
