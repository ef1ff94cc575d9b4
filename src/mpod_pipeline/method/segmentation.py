"""Cutting the product out of its photo: the first step of the paper, which uses Segment Anything for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.parameters import Parameters, PhotoElevationDeg
from mpod_pipeline.cutout.foreground import Found, find_foreground, overlap
from mpod_pipeline.cutout.matting import bounding_box, extend_colours, frame, matte
from mpod_pipeline.cutout.own_alpha import at_full_opacity, has_alpha, on_page, sure_to_cut_out, without_veils
from mpod_pipeline.cutout.saliency import SaliencyNetwork, load_saliency_network
from mpod_pipeline.cutout.sam import Sam, SamParameters, find_foreground_with_sam, load_sam
from mpod_pipeline.cutout.see_through import by_alpha, by_page
from mpod_pipeline.priors.elevation import ElevationNetwork, load_elevation_network

Maker = Literal["auto", "alpha", "embedded", "sam"]
#: Sides of a cutout, pixels: of most, and of a product that has more than so many pixels in its photo.
USUAL_SIZE, LARGE_SIZE, LARGE_PRODUCT = 512, 1280, 1024


class SegmentationParameters(Parameters):
    """How products are cut out.

    maker: ``alpha`` takes the photo's own alpha. ``embedded`` needs no weights beyond the installation. ``sam`` is
    Segment Anything. ``auto`` is ``alpha`` where the photo's alpha cuts something out, else ``sam`` where its weights
    are named, else ``embedded``. network: a U²-Net, IS-Net or BiRefNet in ONNX, as rembg keeps them.
    """

    maker: Maker = "auto"
    network: Path | None = Field(None, description="a file with another network than the embedded one")
    size: int | None = Field(
        None,
        ge=64,
        le=4096,
        description="pixels a side; null: 512, or 1280 where the product has more than 1024 pixels",
    )
    long_side: float = Field(0.8, gt=0.1, le=1.0, description="of the product, as a share of the frame")
    check_below: float = Field(0.75, ge=0, le=1, description="somebody should look at cutouts less sure than this")
    sam: SamParameters | None = Field(None, description="where Segment Anything's weights are")
    photo_elevation_deg: PhotoElevationDeg = Field(
        "auto", description="how high above the product the photos' cameras stood; auto: as each photo looks"
    )

    @property
    def asks_sam(self) -> bool:
        """Whether Segment Anything tells an opaque photo's product from its background."""
        return self.maker == "sam" or (self.maker == "auto" and self.sam is not None)


@dataclass(frozen=True)
class SegmentationModels:
    """The networks that a maker needs, loaded once for all products."""

    network: SaliencyNetwork
    elevation: ElevationNetwork
    sam: Sam | None = None


@dataclass(frozen=True)
class Segmented:
    """picture: RGBA [S, S, 4], straight alpha. confidence: how sure it is to be the product, in [0, 1]. see_through:
    how much of it looks like glass or gauze, in [0, 1].
    """

    picture: NDArray[np.uint8]
    confidence: float
    see_through: float


def load_segmentation_models(parameters: SegmentationParameters) -> SegmentationModels:
    """The models of the chosen maker; SetupError where weights are missing."""
    sam = None
    if parameters.asks_sam:
        if parameters.sam is None:
            raise SetupError("The segmentation maker 'sam' needs its weights: set sam.checkpoint and sam.model_type.")
        sam = load_sam(parameters.sam)
    return SegmentationModels(load_saliency_network(parameters.network), load_elevation_network(), sam)


def segment(
    photo: NDArray[np.uint8],
    parameters: SegmentationParameters,
    models: SegmentationModels,
    mask: NDArray[np.bool_] | None = None,
) -> Segmented:
    """The product's cutout, squared and centred, with a side of ``parameters.size``, or as large as the photo allows.

    photo: [H, W, 3] or [H, W, 4] in sRGB, as `decode_photo` gives it. mask: [H, W], where somebody has drawn it: then
    it is taken. Edge pixels bear the product's own colours, and transparent ones the nearest of them. Raises
    ProductError where no product can be told from its background.
    """
    photo = at_full_opacity(photo)
    if parameters.maker == "alpha" and not has_alpha(photo):
        raise ProductError(
            "The photo's own transparency does not cut a product out; give a photo with a transparent background."
        )
    if mask is None and (sure := _sure_by_alpha(photo, parameters, models)):
        picture = cut_by_alpha(without_veils(photo, models.network), parameters)
        return Segmented(picture, sure, by_alpha(picture))
    opaque = on_page(photo)
    found = find_product(opaque, parameters, models) if mask is None else Found(mask, 1.0)
    size = _size_of(found.mask, parameters)
    picture, close = _close_up(opaque, found.mask, parameters.long_side * size)
    picture = frame(matte(picture, close), size=size, share=parameters.long_side)
    return Segmented(picture, found.confidence, by_page(opaque, found.mask))


def _sure_by_alpha(photo: NDArray[np.uint8], parameters: SegmentationParameters, models: SegmentationModels) -> float:
    """How sure it is that the photo's alpha is to be taken, 0 where it is not."""
    if parameters.maker == "auto":
        return sure_to_cut_out(photo, models.network)
    return float(parameters.maker == "alpha")


def find_product(photo: NDArray[np.uint8], parameters: SegmentationParameters, models: SegmentationModels) -> Found:
    """The product in an opaque photo [H, W, 3]."""
    found = find_foreground(photo, models.network)
    if not parameters.asks_sam:
        return found
    if models.sam is None:
        raise SetupError("Segment Anything was chosen, but its model was not loaded.")
    mask = find_foreground_with_sam(photo, models.sam, found.mask)
    return Found(mask, found.confidence * overlap(mask, found.mask))


def cut_by_alpha(photo: NDArray[np.uint8], parameters: SegmentationParameters) -> NDArray[np.uint8]:
    """What the alpha of a photo [H, W, 4] leaves of it, [S, S, 4]."""
    size = _size_of(photo[..., 3] >= 128, parameters)
    return frame(extend_colours(photo), size=size, share=parameters.long_side)


def _size_of(mask: NDArray[np.bool_], parameters: SegmentationParameters) -> int:
    """The side of a cutout, where a product has so many pixels in its photo."""
    if parameters.size is not None:
        return parameters.size
    top, left, bottom, right = bounding_box(mask)
    return LARGE_SIZE if max(bottom - top, right - left) > LARGE_PRODUCT else USUAL_SIZE


def _close_up(
    photo: NDArray[np.uint8], mask: NDArray[np.bool_], long_side: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Photo and mask round the mask's bounding box, reduced until its long side has so many pixels."""
    top, left, bottom, right = bounding_box(mask)
    margin = max(bottom - top, right - left) // 16
    rows = slice(max(0, top - margin), bottom + margin)
    columns = slice(max(0, left - margin), right + margin)
    photo, mask = photo[rows, columns], mask[rows, columns]
    scale = long_side / max(bottom - top, right - left)
    if scale >= 1:
        return photo, mask
    size = max(1, round(photo.shape[1] * scale)), max(1, round(photo.shape[0] * scale))
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, size, interpolation=cv2.INTER_AREA).astype(np.uint8), share > 0.5
