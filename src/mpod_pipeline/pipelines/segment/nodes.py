"""Photo to cutout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.cutout.photos import decode_mask, decode_photo
from mpod_pipeline.datasets import History, Photos
from mpod_pipeline.method import segmentation
from mpod_pipeline.method.segmentation import SegmentationParameters, load_segmentation_models

STAGE = Stage("segment", artifacts=("cutouts", "cutout_checks"), code_version=5, optional=frozenset({"mask"}))
#: What is said of a product whose cutout somebody should look at.
CHECK = "check the cutout"


def segment(
    photos: Photos, parameters: SegmentationParameters, batch: BatchParameters, history: History
) -> Iterator[dict[str, Any]]:
    """Cut every photo's product out, RGBA, squared, upright; and say how sure that is."""
    yield from run_stage(
        STAGE,
        partial(_segmenter, parameters),
        inputs={"photo": photos, "mask": photos.masks()},
        parameters=parameters,
        batch=batch,
        history=history,
        written_as=photos.written_as,
    )


def _segmenter(parameters: SegmentationParameters) -> Work:
    models = load_segmentation_models(parameters)

    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        photo = decode_photo(inputs["photo"])
        drawn = inputs["mask"]
        mask = None if drawn is None else decode_mask(drawn, photo, inputs["photo"])
        cutout = segmentation.segment(photo, parameters, models, mask)
        return {
            "cutouts": cutout.picture,
            "cutout_checks": {
                "cutout_confidence": round(cutout.confidence, 3),
                "flags": CHECK if cutout.confidence < parameters.check_below else "",
            },
        }

    return work
