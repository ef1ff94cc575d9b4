"""Cut the product out of every photo, RGBA, squared, upright; and say how sure that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.cutout.flags import CHECK, SWAPPED_SIDES, TRANSPARENT
from mpod_pipeline.cutout.photo_file import PhotoFile
from mpod_pipeline.cutout.photos import decode_mask, decode_photo
from mpod_pipeline.method.cutouts import Cutout
from mpod_pipeline.method.framing import framed_together
from mpod_pipeline.method.segmentation import (
    SegmentationModels,
    SegmentationParameters,
    Segmented,
    load_segmentation_models,
    segment,
)
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.swapped_sides import look_swapped

Settings = SegmentationParameters
load = load_segmentation_models
#: More than this share of a transparent product is seen through.
SEE_THROUGH = 0.25


def make(models: SegmentationModels, given: Given) -> dict[str, Any]:
    p: SegmentationParameters = given.settings
    front = cut(PhotoFile(given["photo"], given["mask"]), models, p)
    photos = [Cutout(front.picture, elevation_of(front.picture, models, p))]
    check = {
        "cutout_confidence": round(front.confidence, 3),
        "see_through": round(front.see_through, 3),
        "photo_elevation_deg": round(photos[0].elevation_deg, 1),
    }
    flags = [CHECK] if front.confidence < p.check_below else []
    p = p.model_copy(update={"size": len(front.picture)})  # of all photos of a product
    further: Sequence[PhotoFile] = given["further_photos"] or ()
    for photo in further:
        try:
            found = cut(photo, models, p)
        except ProductError as error:  # it costs this photo, not the product
            flags.append(f"the photo {photo.name} is not used: {error}")
            continue
        photos.append(Cutout(found.picture, elevation_of(found.picture, models, p), photo.azimuth_deg, photo.name))
        check[f"cutout_confidence_{photo.name}"] = round(found.confidence, 3)
        if found.confidence < p.check_below:
            flags.append(f"{CHECK} of the photo {photo.name}")
    if front.see_through > SEE_THROUGH:
        flags.append(TRANSPARENT)
    cutouts = framed_together(photos)
    if look_swapped(cutouts):
        flags.append(SWAPPED_SIDES)
    return {"cutouts": cutouts, "cutout_checks": {**check, "flags": "; ".join(flags)}}


def elevation_of(picture: NDArray[np.uint8], models: SegmentationModels, settings: SegmentationParameters) -> float:
    told = settings.photo_elevation_deg
    return models.elevation.estimate(picture) if isinstance(told, str) else told


def cut(file: PhotoFile, models: SegmentationModels, settings: SegmentationParameters) -> Segmented:
    photo = decode_photo(file.data)
    mask = None if file.mask is None else decode_mask(file.mask, photo, file.data)
    return segment(photo, settings, models, mask)
