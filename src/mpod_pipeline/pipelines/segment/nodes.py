"""Photo to cutout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.datasets import History, Photos
from mpod_pipeline.method import segmentation
from mpod_pipeline.method.photos import decode_photo
from mpod_pipeline.method.segmentation import SegmentationParameters, load_segmentation_models

STAGE = Stage("segment", artifacts=("cutouts",), code_version=3)


def segment(
    photos: Photos, parameters: SegmentationParameters, batch: BatchParameters, history: History
) -> Iterator[dict[str, Any]]:
    """Cut every photo's product out: RGBA, squared, upright."""
    yield from run_stage(
        STAGE,
        partial(_segmenter, parameters),
        inputs={"photo": photos},
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
        return {"cutouts": segmentation.segment(photo, parameters, models)}

    return work
