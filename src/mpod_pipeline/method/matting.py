"""From a mask to a cutout: soft alpha, the product's own colours at its edge, and the frame of the paper's photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.errors import ProductError

#: Half the width of the band round a mask's border in which pixels may be partly covered, pixels.
BAND = 4
#: Colours of product and backdrop nearer than this (levels of 255) cannot tell how far a pixel is covered.
TELLING_CONTRAST = 24.0

FloatArray = NDArray[np.floating[Any]]


def matte(photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A mask's cutout [H, W, 4], straight alpha, from a photo [H, W, 3] and a mask [H, W] right to a few pixels.

    In a band round the mask's border a pixel's colour is taken as a mixture of the product's and the backdrop's, each
    the mean of what is surely the one or the other nearby. Alpha is the mixture's share; what the backdrop added to
    the colour is taken off. Outside, colours go on as the product's nearest ones.
    """
    colours = photo.astype(np.float32)
    depth = signed_distance(mask)
    product, product_variance = _nearby_colours(colours, depth > BAND)
    backdrop, backdrop_variance = _nearby_colours(colours, depth < -BAND)
    alpha = _mixture(colours, product, backdrop, product_variance + backdrop_variance, depth)
    unmixed = (colours - (1 - alpha[..., None]) * backdrop) / np.maximum(alpha[..., None], 0.1)
    # The less of the product a pixel holds, the more of its colour is noise.
    own = alpha[..., None] * np.clip(unmixed, 0, 255) + (1 - alpha[..., None]) * product
    return extend_colours(_to_rgba(own, alpha))


def _to_rgba(colours: FloatArray, alpha: FloatArray) -> NDArray[np.uint8]:
    """Colours [H, W, 3] in [0, 255] and alpha [H, W] in [0, 1] as uint8 [H, W, 4]."""
    return np.dstack([colours, alpha * 255]).round().clip(0, 255).astype(np.uint8)


def signed_distance(mask: NDArray[np.bool_]) -> FloatArray:
    """Distance of pixels to a mask's border, positive inside, [H, W]; half a pixel right beside the border."""
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    return np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)


def _nearby_colours(colours: FloatArray, where: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Mean [H, W, 3] and variance [H, W] of the nearest colours of a kind; each pixel's own far from all of them."""
    mean, variance = colours.copy(), np.zeros(colours.shape[:2], np.float32)
    known = np.zeros(colours.shape[:2], bool)
    for radius in (BAND, 3 * BAND, 9 * BAND):  # as near as possible
        window = (4 * radius + 1, 4 * radius + 1)
        weight = cv2.blur(where.astype(np.float32), window)
        found = (weight > 0.02) & ~known
        total = cv2.blur(colours * where[..., None], window)
        squares = cv2.blur((colours**2).sum(axis=2) * where, window)
        mean[found] = total[found] / weight[found][:, None]
        variance[found] = squares[found] / weight[found] - (mean[found] ** 2).sum(axis=1)
        known |= found
    return mean, np.maximum(variance, 0)


def _mixture(
    colours: FloatArray, product: FloatArray, backdrop: FloatArray, variance: FloatArray, depth: FloatArray
) -> FloatArray:
    """The product's share of each pixel, [H, W] in [0, 1]. variance: of both kinds' colours nearby, [H, W]."""
    difference = product - backdrop
    contrast = (difference**2).sum(axis=2)
    share = ((colours - backdrop) * difference).sum(axis=2) / np.maximum(contrast, 1)
    by_mask = np.clip(depth / 2 + 0.5, 0, 1)
    # Where colours vary as much as they differ, a colour tells nothing of the share, and the mask decides.
    telling = contrast / (contrast + 4 * variance + TELLING_CONTRAST**2)
    share = telling * share + (1 - telling) * by_mask
    # A product's dark speck is no hole: the nearer to the band's rim, the more the mask decides.
    return np.clip(share, np.clip((depth - 0.5) / BAND, 0, 1), np.clip(1 + (depth + 0.5) / BAND, 0, 1))


def extend_colours(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The cutout [H, W, 4] with its nearest solid colours where it is transparent: resampling bleeds nothing."""
    solid = cutout[..., 3] >= 128
    nearest = ndimage.distance_transform_edt(~solid, return_distances=False, return_indices=True)
    extended = cutout.copy()
    faint = cutout[..., 3] < 16
    extended[faint, :3] = cutout[..., :3][tuple(nearest)][faint]
    return extended


def bounding_box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    """First row, first column, and one past the last row and column of a product's mask.

    Raises ProductError where it is empty: of a line nothing is left when its picture is made smaller.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        raise ProductError("The product in the photo is too thin to be made into a model.")
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1


def frame(cutout: NDArray[np.uint8], *, size: int, share: float) -> NDArray[np.uint8]:
    """A cutout [H, W, 4] in a square of `size` pixels, [size, size, 4].

    The product's bounding box (alpha at least a half) is centred, its long side `share` of the frame. Resampled with
    premultiplied alpha. Raises ProductError where it is too thin for that.
    """
    top, left, bottom, right = bounding_box(cutout[..., 3] >= 128)
    scale = share * size / max(bottom - top, right - left)
    if scale < 1:  # shrink by areas first: the warp below samples points
        height, width = cutout.shape[:2]
        smaller = max(1, round(width * scale)), max(1, round(height * scale))
        cutout = _resample(cutout, lambda image: cv2.resize(image, smaller, interpolation=cv2.INTER_AREA))
        top, left, bottom, right = bounding_box(cutout[..., 3] >= 128)
        scale = share * size / max(bottom - top, right - left)
    # cv2 puts pixel centres at whole numbers.
    row, column = (top + bottom - 1) / 2, (left + right - 1) / 2
    middle = (size - 1) / 2
    into_frame = np.array([[scale, 0, middle - scale * column], [0, scale, middle - scale * row]])
    framed = _resample(
        cutout, lambda image: cv2.warpAffine(image, into_frame, (size, size), flags=cv2.INTER_CUBIC)
    )
    return extend_colours(framed)


def _resample(cutout: NDArray[np.uint8], how: Callable[[FloatArray], NDArray[Any]]) -> NDArray[np.uint8]:
    """The cutout resampled with premultiplied alpha."""
    alpha = cutout[..., 3:].astype(np.float32) / 255
    resampled = how(np.dstack([cutout[..., :3] * alpha, alpha]))
    coverage = resampled[..., 3].clip(0, 1)
    return _to_rgba(resampled[..., :3] / np.maximum(coverage[..., None], 1 / 255), coverage)
