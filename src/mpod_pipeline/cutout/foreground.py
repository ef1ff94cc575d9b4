"""Finding the product in a photo: two looks of a saliency network, which of them to believe, and how sure that is.

What each rule is worth: docs/cutout.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.cutout.matting import bounding_box
from mpod_pipeline.cutout.saliency import SaliencyNetwork

FloatArray = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

#: Photos are looked at with this long side at most, pixels: more than the network sees of them.
LONG_SIDE = 1024
#: Room round the photo in the second look, a share of its long side.
ROOM = 0.12
#: Shares of the photo's border that a product covers: one that is cut off by it, and one that nothing was found of.
CUT_OFF, FILLED = 0.03, 0.8
#: So many times as large is the whole of which the other look found a part.
WHOLE = 1.3
#: A product whose box is smaller than this share of the photo's is looked at again, with this share of itself round it.
SMALL, SURROUNDINGS = 0.5, 0.3
#: Pieces of the product reach into the middle of the photo, a square of this share of its sides, and have this share of
#: the largest one's area.
MIDDLE, SMALLEST_PIECE = 0.5, 0.02
#: Lab units: how even a page is, and how near to it the colour in a hole; the smallest hole, a share of the product;
#: how much of its edge is sharp.
PAGE_NOISE, HOLE, SMALLEST_HOLE, SHARP = 3.0, 4.0, 0.002, 0.9
#: How far above the product's lowest row a hole may end that reaches the floor, a share of the product's height.
FLOOR = 0.15
#: Lab units: what departs so far from a plain page and is found by one of the looks is product, such as a chair's leg.
#: Contact shadows depart less.
STANDS_OUT = 25.0
#: Colours (levels of 255) that nobody can tell from the page's.
SAME_COLOUR = 4
#: Smaller departures from an even backdrop (Lab units) are paper, noise and compression.
BLANK_CONTRAST = 3.0


@dataclass(frozen=True)
class Found:
    """The product's mask [H, W], and how sure it is, in [0, 1]."""

    mask: Mask
    confidence: float


def find_foreground(photo: NDArray[np.uint8], network: SaliencyNetwork) -> Found:
    """The product in a photo [H, W, 3], sRGB. Raises ProductError where none can be told from its background."""
    small = reduced(photo, LONG_SIDE)
    rows, columns = find_picture(small)
    found = _find_in_picture(small[rows, columns], network)
    mask = np.zeros(small.shape[:2], bool)
    mask[rows, columns] = found.mask
    return Found(_enlarged(mask, photo.shape), found.confidence)


def reduced(photo: NDArray[np.uint8], long_side: int) -> NDArray[np.uint8]:
    """The photo [H, W, 3] with a long side of so many pixels at most."""
    scale = min(1.0, long_side / max(photo.shape[:2]))
    return cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA).astype(np.uint8)


def find_picture(photo: NDArray[np.uint8]) -> tuple[slice, slice]:
    """Rows and columns of the picture proper, without bars of one colour along whole sides (letterboxing)."""
    height, width = photo.shape[:2]
    top, bottom = _bar(photo), _bar(photo[::-1])
    sideways = photo[top : height - bottom].swapaxes(0, 1)
    left, right = _bar(sideways), _bar(sideways[::-1])
    return slice(top, height - bottom), slice(left, width - right)


def _bar(photo: NDArray[np.uint8]) -> int:
    """Height of a bar at the top: rows of one colour that end in a line across the whole width; 0 without one."""
    some = photo[: len(photo) * 2 // 5, :: 1 + photo.shape[1] // 256].astype(np.float32)  # columns tell as much
    deviation = np.abs(some - np.median(some[0], axis=0)).max(axis=2)
    plain = (deviation <= 10).mean(axis=1) > 0.98
    if plain.all() or not plain[0]:
        return 0
    height = int(np.argmin(plain))
    # Compression smears the line over a few rows. A gradient of the backdrop gets nowhere within them.
    beyond = deviation[height : height + 4].max(axis=0)
    return height + 2 if (beyond > 20).mean() > 0.95 else 0


def _find_in_picture(picture: NDArray[np.uint8], network: SaliencyNetwork) -> Found:
    _require_contrast(picture)
    close, roomy = look(picture, network, room=0.0), look(picture, network, room=ROOM)
    either = np.maximum(close, roomy) > 0.5
    departure = departure_from_page(picture, either)
    likely = roomy if is_the_whole(roomy > 0.5, close > 0.5, departure) else close
    likely = _look_nearer(picture, likely, network)
    found = (likely > 0.5) | (either & _enlarged(departure > STANDS_OUT, either.shape))
    mask = without_holes(middle_pieces(found), departure)
    _require_sense(mask)
    beside = (likely > 0.5) & ~mask  # told by other means
    sure = confidence(picture, mask, np.where(beside, 0, likely))
    return Found(mask, sure * overlap(close > 0.5, roomy > 0.5))


def look(photo: NDArray[np.uint8], network: SaliencyNetwork, room: float) -> FloatArray:
    """What the network answers [H, W] on a photo [H, W, 3] in a square.

    Without room the photo's sides are drawn out to fill the square. With room the photo lies on a page of its border's
    colour, so a product that the photo cuts off ends there.
    """
    height, width = photo.shape[:2]
    side = round(max(height, width) * (1 + 2 * room))
    top, left = (side - height) // 2, (side - width) // 2
    page = np.median(_border(photo), axis=0).round().tolist()
    kind = cv2.BORDER_CONSTANT if room else cv2.BORDER_REPLICATE
    square = cv2.copyMakeBorder(photo, top, side - height - top, left, side - width - left, kind, value=page)
    return network(square.astype(np.uint8))[top : top + height, left : left + width]


def is_the_whole(roomy: Mask, close: Mask, departure: FloatArray) -> bool:
    """Whether to believe the look with room rather than the close one.

    Only with room, a product that the photo's border cuts off is found as a whole. But a whole photo is no product, and
    the page between a table's legs is no part of it. departure: see `departure_from_page`.
    """
    touched = _border(roomy).mean()
    everything = touched > FILLED or roomy.mean() > 0.9
    if everything or not (touched > CUT_OFF or roomy.sum() > WHOLE * close.sum()):
        return False
    gained = _reduced(roomy & ~close, departure.shape)
    return not gained.any() or bool((departure[gained] < HOLE).mean() < 0.5)


def _look_nearer(picture: NDArray[np.uint8], likely: FloatArray, network: SaliencyNetwork) -> FloatArray:
    """The answer [H, W] for a product that is small in its picture.

    The network looks again at the product's surroundings alone. Its first answer stays if the second shows another
    thing.
    """
    mask = middle_pieces(likely > 0.5)
    if not mask.any():
        return likely
    top, left, bottom, right = bounding_box(mask)
    side = max(bottom - top, right - left)
    if side > SMALL * max(mask.shape):
        return likely
    margin = round(SURROUNDINGS * side)
    rows, columns = slice(max(0, top - margin), bottom + margin), slice(max(0, left - margin), right + margin)
    nearer = np.zeros_like(likely)
    nearer[rows, columns] = look(picture[rows, columns], network, room=0.0)
    return nearer if overlap(nearer > 0.5, mask) > 0.5 else likely


def middle_pieces(mask: Mask) -> Mask:
    """The mask without what is beside the product: badges in the corners, banners, specks."""
    pieces, count = ndimage.label(mask, structure=np.ones((3, 3)))
    height, width = mask.shape
    rows, columns = (slice(round(n * (1 - MIDDLE) / 2), round(n * (1 + MIDDLE) / 2)) for n in (height, width))
    areas = np.bincount(pieces.ravel(), minlength=count + 1)
    middle = np.setdiff1d(pieces[rows, columns], 0)
    if middle.size == 0:
        return mask
    return np.isin(pieces, middle[areas[middle] >= SMALLEST_PIECE * areas[middle].max()])


def without_holes(mask: Mask, departure: FloatArray) -> Mask:
    """The mask [H, W] without holes that show a plain page, such as a handle's. departure: see `departure_from_page`.

    A hole has the page's colour and noise, and sharp edges all round, unlike the lit side of something white. Where it
    reaches the floor, as between a table's legs, the contact shadow closes it softly from below, and goes as well.
    """
    inside = _reduced(mask, departure.shape)
    alike, count = ndimage.label(ndimage.binary_opening(departure < HOLE))
    areas = np.bincount(alike[inside], minlength=count + 1)
    large = np.flatnonzero(areas >= SMALLEST_HOLE * inside.sum())
    holes = np.zeros_like(inside)
    for number in np.setdiff1d(large, [0, *_border(alike)]):
        hole = alike == number
        edge = ndimage.binary_dilation(hole, iterations=3) & ~ndimage.binary_dilation(hole)
        beneath = _beneath(hole, inside)
        if (departure[edge & ~beneath] > 2 * HOLE).mean() > SHARP:
            holes |= ndimage.binary_dilation(hole, iterations=2) | (beneath & (departure < STANDS_OUT))
    return mask & ~_enlarged(holes, mask.shape)


def _beneath(hole: Mask, product: Mask) -> Mask:
    """What lies under a hole that reaches down to where the product stands; else nothing."""
    rows = np.flatnonzero(product.any(axis=1))
    if np.flatnonzero(hole.any(axis=1))[-1] < rows[-1] - FLOOR * len(rows):
        return np.zeros_like(hole)
    return np.logical_or.accumulate(hole, axis=0) & ~hole


def departure_from_page(photo: NDArray[np.uint8], mask: Mask) -> FloatArray:
    """How far a photo's colours are from the page's, in Lab units: [h, w], 640 pixels a side at most.

    The page is what lies round the mask's product. Not a number where there is no plain page.
    """
    lab = _to_lab(photo, long_side=640)
    outside = ~ndimage.binary_dilation(_reduced(mask, lab.shape[:2]), iterations=6)
    if outside.sum() > 100:
        departure = _departure_from_surface(lab, outside)
        if np.median(departure[outside]) < PAGE_NOISE:
            return departure
    return np.full(lab.shape[:2], np.nan, np.float32)


def _reduced(mask: Mask, shape: tuple[int, ...]) -> Mask:
    return cv2.resize(mask.astype(np.uint8), shape[1::-1], interpolation=cv2.INTER_AREA) > 0


def _enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    """The mask with so many rows and columns."""
    return cv2.resize(mask * np.uint8(255), shape[1::-1], interpolation=cv2.INTER_LINEAR) > 127


def confidence(photo: NDArray[np.uint8], mask: Mask, likely: FloatArray) -> float:
    """How sure a mask [H, W] of a photo [H, W, 3] is, in [0, 1], by the network's answer [H, W].

    A product of four: how decided the answer is; the largest piece's share; less where most of the photo's border is
    product; and less by what has the very colour of a plain page, which may be a hole.
    """
    decided = np.minimum(likely, mask).sum() / max(1.0, np.maximum(likely, mask).sum())
    areas = np.bincount(ndimage.label(mask, structure=np.ones((3, 3)))[0].ravel())[1:]
    inside = min(1.0, 2 * (1 - _border(mask).mean()))
    border = _border(photo).astype(int)
    page = np.median(border, axis=0)
    some = photo[::2, ::2][mask[::2, ::2]].astype(int)  # a quarter tells as much
    same = (np.abs(some - page) <= SAME_COLOUR).all(axis=1).mean() if len(some) else 0.0
    is_plain = (np.abs(border - page) <= SAME_COLOUR).all(axis=1).mean() > 0.5
    return float(decided * areas.max() / areas.sum() * inside * (1 - same * is_plain))


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union of two masks, 1 where both are empty."""
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


def _border(picture: NDArray[Any]) -> NDArray[Any]:
    """The outermost pixels of [H, W] or [H, W, C], in a row."""
    return np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])


def _require_contrast(photo: NDArray[np.uint8]) -> None:
    """Raise ProductError where nothing but an evenly lit page is seen."""
    lab = _to_lab(photo, long_side=256)
    departure = _departure_from_surface(lab, np.ones(lab.shape[:2], bool))
    if np.percentile(departure, 99.8) < BLANK_CONTRAST:
        raise ProductError("The photo is blank: there is nothing in it but its background.")


def _to_lab(photo: NDArray[np.uint8], long_side: int) -> FloatArray:
    """The photo [H, W, 3] in CIE Lab, slightly blurred, with a long side of so many pixels at most."""
    small = cv2.GaussianBlur(reduced(photo, long_side), (0, 0), 1)
    lab = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return lab.astype(np.float32)


def _departure_from_surface(lab: FloatArray, where: Mask) -> FloatArray:
    """How far colours [h, w, 3] are from an evenly lit page's, [h, w]: a surface quadratic in x and y, fitted where
    told.
    """
    y, x = np.mgrid[-1 : 1 : lab.shape[0] * 1j, -1 : 1 : lab.shape[1] * 1j].astype(np.float32)
    powers = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    some = where & (np.add.outer(*map(np.arange, where.shape)) % 4 == 0)  # a quarter tells as much
    known = powers[some].astype(np.float64)
    # By the normal equations, which are well conditioned on [-1, 1]: a fifth of lstsq's time.
    factors = np.linalg.lstsq(known.T @ known, known.T @ lab[some], rcond=None)[0]
    return np.linalg.norm(lab - powers @ factors.astype(np.float32), axis=2)


def _require_sense(mask: Mask) -> None:
    share = mask.mean()
    if share < 0.002:
        raise ProductError("No product could be found in the photo; take it before a plain background.")
    if share > 0.95 or _border(mask).mean() > FILLED:
        raise ProductError(
            "The product cannot be told from the background; take the photo from further away, before a plain one."
        )
