"""Cutting the product out of its photo: the first step of the paper, which uses Segment Anything for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mpod_pipeline.errors import ProductError, SetupError
from mpod_pipeline.method.foreground import find_foreground
from mpod_pipeline.method.matting import bounding_box, extend_colours, frame, matte
from mpod_pipeline.method.sam import Sam, SamParameters, find_foreground_with_sam, load_sam
from mpod_pipeline.metrics.encoders import EfficientNetLite0, load_efficientnet_lite0
from mpod_pipeline.parameters import Parameters

Maker = Literal["auto", "alpha", "embedded", "sam"]


class SegmentationParameters(Parameters):
    """How products are cut out.

    maker: ``alpha`` takes the photo's own alpha; ``embedded`` needs no weights beyond the installation; ``sam`` is
    Segment Anything; ``auto`` is ``alpha`` where the photo's alpha cuts something out, else ``sam`` where its weights
    are named, else ``embedded``.
    size: side of the square cutout, pixels. long_side: the product's long side as a share of the frame.
    sam: where Segment Anything's weights are.
    """

    maker: Maker = "auto"
    size: int = Field(512, ge=64, le=4096)
    long_side: float = Field(0.8, gt=0.1, le=1.0)
    sam: SamParameters | None = None

    @property
    def asks_sam(self) -> bool:
        """Whether Segment Anything tells an opaque photo's product from its background."""
        return self.maker == "sam" or (self.maker == "auto" and self.sam is not None)


@dataclass(frozen=True)
class SegmentationModels:
    """The networks that a maker needs, loaded once for all products."""

    encoder: EfficientNetLite0
    sam: Sam | None = None


def load_segmentation_models(parameters: SegmentationParameters) -> SegmentationModels:
    """The models of the chosen maker; SetupError where weights are missing."""
    sam = None
    if parameters.asks_sam:
        if parameters.sam is None:
            raise SetupError(
                "The segmentation maker 'sam' needs its weights: set sam.checkpoint and sam.model_type."
            )
        sam = load_sam(parameters.sam)
    return SegmentationModels(load_efficientnet_lite0(), sam)


def segment(
    photo: NDArray[np.uint8], parameters: SegmentationParameters, models: SegmentationModels
) -> NDArray[np.uint8]:
    """The product's cutout [S, S, 4]: RGBA, straight alpha, squared and centred, S = ``parameters.size``.

    photo: [H, W, 3] or [H, W, 4] in sRGB, as `decode_photo` gives it. Edge pixels bear the product's own colours, and
    transparent ones the nearest of them. Raises ProductError where no product can be told from its background.
    """
    if parameters.maker == "alpha" or (parameters.maker == "auto" and has_cutout(photo)):
        return cut_by_alpha(photo, parameters)
    opaque = on_white(photo)
    mask = find_product(opaque, parameters, models)
    # Some pixels more than the result will have.
    picture, mask = _close_up(opaque, mask, long_side=1.5 * parameters.long_side * parameters.size)
    return frame(matte(picture, mask), size=parameters.size, share=parameters.long_side)


def find_product(
    photo: NDArray[np.uint8], parameters: SegmentationParameters, models: SegmentationModels
) -> NDArray[np.bool_]:
    """The product's mask [H, W] in an opaque photo [H, W, 3]."""
    if parameters.asks_sam:
        if models.sam is None:
            raise SetupError("Segment Anything was chosen, but its model was not loaded.")
        return find_foreground_with_sam(photo, models.sam, find_foreground(photo, models.encoder))
    return find_foreground(photo, models.encoder)


def has_cutout(photo: NDArray[np.uint8]) -> bool:
    """Whether a photo's alpha cuts something out, unlike the rounded corners of a screenshot."""
    if photo.shape[2] == 3:
        return False
    clear = photo[..., 3] < 128
    border = np.concatenate([clear[0], clear[-1], clear[:, 0], clear[:, -1]])
    return bool(clear.mean() > 0.05 and border.mean() > 0.25 and (~clear).mean() > 0.002)


def on_white(photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The photo [H, W, 3 or 4] as it looks on white paper, [H, W, 3]."""
    if photo.shape[2] == 3:
        return photo
    alpha = photo[..., 3:].astype(np.float32) / 255
    return (photo[..., :3] * alpha + 255 * (1 - alpha)).round().astype(np.uint8)


def cut_by_alpha(photo: NDArray[np.uint8], parameters: SegmentationParameters) -> NDArray[np.uint8]:
    """The maker ``alpha`` (see `segment`). Raises ProductError where the photo has no transparency that cuts out."""
    if not has_cutout(photo):
        raise ProductError(
            "The photo's own transparency does not cut a product out; give a photo with a transparent background."
        )
    return frame(extend_colours(photo), size=parameters.size, share=parameters.long_side)


def _close_up(
    photo: NDArray[np.uint8], mask: NDArray[np.bool_], long_side: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Photo and mask round the mask's bounding box, reduced until its long side has so many pixels."""
    top, left, bottom, right = bounding_box(mask)
    margin = max(bottom - top, right - left) // 4
    rows = slice(max(0, top - margin), bottom + margin)
    columns = slice(max(0, left - margin), right + margin)
    photo, mask = photo[rows, columns], mask[rows, columns]
    scale = long_side / max(bottom - top, right - left)
    if scale >= 1:
        return photo, mask
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA).astype(np.uint8), share > 0.5
