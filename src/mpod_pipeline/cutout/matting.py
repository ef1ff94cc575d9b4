"""From a mask to a cutout: soft alpha, the product's own colours at its edge, and the frame of the paper's photo."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.base.errors import ProductError

#: Half the width of the band round a mask's border in which pixels may be partly covered, pixels.
BAND = 4
#: Of closed-form matting: the library's own 1e-7 follows the noise where product and backdrop are alike.
SMOOTHNESS = 1e-5

FloatArray = NDArray[np.floating[Any]]


def matte(photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Cut a product out along a mask.

    Alpha is found in a band round the mask's border by closed-form matting (Levin, Lischinski and Weiss, 2008). Then
    what the backdrop added to the colours is taken off (multi-level foreground estimation, Germer et al., 2020).

    Args:
        photo: [H, W, 3] uint8, sRGB.
        mask: [H, W] bool, right to a few pixels.

    Returns:
        The cutout [H, W, 4] uint8, straight alpha.
    """
    # Imported here: it takes a second, and the first time it compiles for some twelve.
    from mpod_pipeline.cutout.pymatting_ import estimate_alpha_cf, estimate_foreground_ml

    colours = photo / 255
    trimap = np.where(_deep(mask), 1.0, np.where(_deep(~mask), 0.0, 0.5))
    alpha = estimate_alpha_cf(colours, trimap, laplacian_kwargs={"epsilon": SMOOTHNESS})
    return extend_colours(_to_rgba(estimate_foreground_ml(colours, alpha) * 255, alpha))


def _deep(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part [H, W] without the band along its border.

    Where the part is thinner than the band, its middle stays. If nothing there were sure, a cord would vanish and a gap
    between slats would close.
    """
    depth = ndimage.distance_transform_edt(part)
    deep: NDArray[np.bool_] = part & ((depth > BAND) | (depth == ndimage.maximum_filter(depth, 3)))
    return deep


def _to_rgba(colours: FloatArray, alpha: FloatArray) -> NDArray[np.uint8]:
    """Colours [H, W, 3] in [0, 255] and alpha [H, W] in [0, 1] as uint8 [H, W, 4]."""
    return np.dstack([colours, alpha * 255]).round().clip(0, 255).astype(np.uint8)


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
    framed = _resample(cutout, lambda image: cv2.warpAffine(image, into_frame, (size, size), flags=cv2.INTER_CUBIC))
    return extend_colours(framed)


def moved(cutout: NDArray[np.uint8], scale: float, right: float, down: float) -> NDArray[np.uint8]:
    """A cutout [S, S, 4] made ``scale`` times as large about its centre, and moved by so many pixels, in a frame of the
    same size; what leaves the frame is lost.
    """
    size = len(cutout)
    middle = (size - 1) / 2  # cv2 puts pixel centres at whole numbers
    into = np.array([[scale, 0, middle * (1 - scale) + right], [0, scale, middle * (1 - scale) + down]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return extend_colours(_resample(cutout, lambda image: cv2.warpAffine(image, into, (size, size), flags=way)))


def relit(cutout: NDArray[np.uint8], gain: FloatArray) -> NDArray[np.uint8]:
    """A cutout [S, S, 4] with its colours multiplied by a gain [3]."""
    colours = (cutout[..., :3] * gain).round().clip(0, 255).astype(np.uint8)
    return np.dstack([colours, cutout[..., 3]])


def _resample(cutout: NDArray[np.uint8], how: Callable[[FloatArray], NDArray[Any]]) -> NDArray[np.uint8]:
    """The cutout resampled with premultiplied alpha."""
    alpha = cutout[..., 3:].astype(np.float32) / 255
    resampled = how(np.dstack([cutout[..., :3] * alpha, alpha]))
    coverage = resampled[..., 3].clip(0, 1)
    return _to_rgba(resampled[..., :3] / np.maximum(coverage[..., None], 1 / 255), coverage)
