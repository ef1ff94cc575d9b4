"""From a mask to a cutout: soft alpha, the product's own colours at its edge, and the frame of the paper's photo."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.threads import for_each

#: Half the width of the band round a mask's border in which pixels may be partly covered, pixels.
BAND = 4
#: Of closed-form matting: the library's own 1e-7 follows the noise where product and backdrop are alike.
SMOOTHNESS = 1e-5
#: Sides of the squares in which the band is worked on, and the room round each, pixels.
SQUARE, ROOM = 96, 8

FloatArray = NDArray[np.floating[Any]]


def matte(photo: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Cut a product out along a mask.

    Alpha is found in a band round the mask's border by closed-form matting (Levin, Lischinski and Weiss, 2008). Then
    what the backdrop added to the colours is taken off (multi-level foreground estimation, Germer et al., 2020).

    Args:
        photo: [H, W, 3] uint8, sRGB.
        mask: [H, W] bool, right to a few pixels.

    Returns:
        The cutout [H, W, 4] uint8, straight alpha; outside the band its colours are the photo's.
    """
    trimap = np.where(_deep(mask), 1.0, np.where(_deep(~mask), 0.0, 0.5))
    tiles = Tiles.of(trimap)
    cutout = np.dstack([photo, mask * np.uint8(255)])
    return tiles.laid_on(cutout, _matted(tiles.cut(photo), tiles.cut(trimap))) if tiles.chosen.any() else cutout


def _matted(photo: NDArray[np.uint8], trimap: FloatArray) -> NDArray[np.uint8]:
    """Tiles [N, S, S, 4] of a cutout, from those of a photo [N, S, S, 3] and of its trimap [N, S, S]."""
    # Imported here: it takes a second, and the first time it compiles for some twelve.
    from mpod_pipeline.cutout.pymatting_ import estimate_alpha_cf, estimate_foreground_ml

    def alpha_of(tile: int) -> FloatArray:
        kwargs = {"epsilon": SMOOTHNESS}
        return estimate_alpha_cf(colours[tile], trimap[tile], laplacian_kwargs=kwargs)

    colours = photo / 255
    alpha = np.concatenate(for_each(alpha_of, range(len(photo))))
    below_each_other = colours.reshape(-1, *colours.shape[2:])  # in one call, which costs less and is as good
    own_colours = estimate_foreground_ml(below_each_other, alpha)
    return _to_rgba(own_colours * 255, alpha).reshape(*photo.shape[:3], 4)


@dataclass(frozen=True)
class Tiles:
    """The squares of a picture in which alpha is to be found, each with room round it: alpha at a square's border
    depends on what is beyond.

    PyMatting's time and memory go with the whole picture, of which the band is a small part.
    """

    chosen: NDArray[np.bool_]  # [rows, columns] of squares

    @classmethod
    def of(cls, trimap: FloatArray) -> Tiles:
        """Those with a part of the band. PyMatting needs both kinds of sure pixels, too.

        trimap: [H, W], 0 and 1 where alpha is sure, 0.5 in the band.
        """
        windows = _windows(trimap)
        band = windows[..., ROOM:-ROOM, ROOM:-ROOM] == 0.5
        return cls(np.all([part.any(axis=(2, 3)) for part in (band, windows == 0, windows == 1)], axis=0))

    def cut(self, picture: NDArray[Any]) -> NDArray[Any]:
        """The squares of a picture [H, W, ...] with their room, [N, S, S, ...]."""
        return np.ascontiguousarray(np.moveaxis(_windows(picture)[self.chosen], (-2, -1), (1, 2)))

    def laid_on(self, picture: NDArray[Any], tiles: NDArray[Any]) -> NDArray[Any]:
        """The picture [H, W, C] with its squares replaced by tiles [N, S, S, C], without their room."""
        height, width, channels = picture.shape
        rows, columns = self.chosen.shape
        whole = np.zeros((rows * SQUARE, columns * SQUARE, channels), picture.dtype)
        whole[:height, :width] = picture
        squares = whole.reshape(rows, SQUARE, columns, SQUARE, channels).swapaxes(1, 2)
        squares[self.chosen] = tiles[:, ROOM:-ROOM, ROOM:-ROOM]
        return whole[:height, :width]


def _windows(picture: NDArray[Any]) -> NDArray[Any]:
    """All squares of a picture [H, W, ...] with room round them, [rows, columns, ..., S, S]; no copy of each."""
    beyond = [(ROOM, -length % SQUARE + ROOM) for length in picture.shape[:2]]
    padded = np.pad(picture, [*beyond, *[(0, 0)] * (picture.ndim - 2)], mode="edge")
    side = SQUARE + 2 * ROOM
    return np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(0, 1))[::SQUARE, ::SQUARE]


def _deep(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The part [H, W] without the band along its border.

    Where the part is thinner than the band, its middle stays. If nothing there were sure, a cord would vanish and a gap
    between slats would close.
    """
    depth = cv2.distanceTransform(part.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return part & ((depth > BAND) | (depth == cv2.dilate(depth, np.ones((3, 3)))))


def _to_rgba(colours: FloatArray, alpha: FloatArray) -> NDArray[np.uint8]:
    """Colours [H, W, 3] in [0, 255] and alpha [H, W] in [0, 1] as uint8 [H, W, 4]."""
    return np.dstack([colours, alpha * 255]).round().clip(0, 255).astype(np.uint8)


def extend_colours(cutout: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The cutout [H, W, 4] with its nearest solid colours where it is transparent: resampling bleeds nothing."""
    alpha = cutout[..., 3]
    nearest = ndimage.distance_transform_edt(alpha < 128, return_distances=False, return_indices=True)
    pixels = np.ascontiguousarray(cutout).view(np.uint32)[..., 0]
    extended = np.where(alpha < 16, pixels[tuple(nearest)], pixels)[..., None].view(np.uint8)
    extended[..., 3] = alpha
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
    layer: NDArray[Any] = _premultiplied(cutout)
    scale = share * size / _long_side(layer)
    if scale < 1:  # shrink by areas first: the warp below samples points
        height, width = layer.shape[:2]
        smaller = max(1, round(width * scale)), max(1, round(height * scale))
        layer = cv2.resize(layer, smaller, interpolation=cv2.INTER_AREA)
        scale = share * size / _long_side(layer)
    top, left, bottom, right = bounding_box(layer[..., 3] >= 127.5)
    # cv2 puts pixel centres at whole numbers.
    row, column = (top + bottom - 1) / 2, (left + right - 1) / 2
    middle = (size - 1) / 2
    into_frame = np.array([[scale, 0, middle - scale * column], [0, scale, middle - scale * row]])
    return extend_colours(_straight(cv2.warpAffine(layer, into_frame, (size, size), flags=cv2.INTER_CUBIC)))


def _long_side(layer: NDArray[Any]) -> int:
    top, left, bottom, right = bounding_box(layer[..., 3] >= 127.5)
    return max(bottom - top, right - left)


def moved(cutout: NDArray[np.uint8], scale: float, right: float, down: float) -> NDArray[np.uint8]:
    """A cutout [S, S, 4] made ``scale`` times as large about its centre, and moved by so many pixels, in a frame of the
    same size; what leaves the frame is lost.
    """
    size = len(cutout)
    middle = (size - 1) / 2  # cv2 puts pixel centres at whole numbers
    into = np.array([[scale, 0, middle * (1 - scale) + right], [0, scale, middle * (1 - scale) + down]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return extend_colours(_straight(cv2.warpAffine(_premultiplied(cutout), into, (size, size), flags=way)))


def relit(cutout: NDArray[np.uint8], gain: FloatArray) -> NDArray[np.uint8]:
    """A cutout [S, S, 4] with its colours multiplied by a gain [3]."""
    colours = (cutout[..., :3] * gain).round().clip(0, 255).astype(np.uint8)
    return np.dstack([colours, cutout[..., 3]])


def _premultiplied(cutout: NDArray[np.uint8]) -> FloatArray:
    """A cutout [H, W, 4] as it is to be resampled: colours times alpha, in [0, 255]."""
    layer = cutout.astype(np.float32)
    layer[..., :3] *= layer[..., 3:] / 255
    return layer


def _straight(layer: NDArray[Any]) -> NDArray[np.uint8]:
    """A resampled layer [H, W, 4] as a cutout; the layer is not to be used again."""
    layer[..., :3] *= 255 / layer[..., 3:].clip(1, 255)
    return np.rint(layer, out=layer).clip(0, 255, out=layer).astype(np.uint8)
