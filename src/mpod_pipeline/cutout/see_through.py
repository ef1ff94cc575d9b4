"""How much of a product is seen through, as glass and gauze are: by its photo's alpha, or by the page behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.cutout.foreground import LONG_SIDE, Mask, departure_from_page, reduced
from mpod_pipeline.cutout.matting import bounding_box
from mpod_pipeline.cutout.own_alpha import EDGE, FAINT, SOLID

#: Shares of a product's long side: so deep within its outline it is all its own; and where its rim and what follows it
#: are.
DEEP, RIM, NEXT = 0.03, (0.004, 0.015), (0.03, 0.06)
#: Lab units: what is seen through has the page's colour but for this, as glass takes some of the light.
TINT = 10.0
#: Less of a glass is not glass.
MOST = 0.7


def by_alpha(cutout: NDArray[np.uint8]) -> float:
    """The share of a cutout [S, S, 4] that is half transparent, and wider than a soft edge."""
    alpha = cutout[..., 3]
    partly = (alpha > FAINT) & (alpha < SOLID)
    width = max(2, round(EDGE * len(alpha)))
    return float(ndimage.binary_opening(partly, iterations=width).sum() / max(1, (alpha > FAINT).sum()))


def by_page(photo: NDArray[np.uint8], mask: Mask) -> float:
    """The share of the inside of a mask [H, W] that has the colours of the plain page round it, in a photo [H, W, 3],
    where a rim shows that it is glass; else 0, as where there is no plain page.

    White things on white paper look like the page as well. But glass is dark along its outline, where it throws the
    light aside, and no further in; they have no such rim, or grow darker towards it little by little. (The network does
    not tell: it is as sure of a glass as of a mug.)
    """
    small = reduced(photo, LONG_SIDE)
    found = _resized(mask, small.shape)
    departure = departure_from_page(small, found)
    inside = _resized(found, departure.shape)
    if not inside.any():
        return 0.0
    top, left, bottom, right = bounding_box(inside)
    depth = ndimage.distance_transform_edt(inside) / max(bottom - top, right - left)
    zones = [departure[(depth > least) & (depth <= most)] for least, most in (RIM, NEXT, (DEEP, np.inf))]
    if not all(zone.size for zone in zones):
        return 0.0
    rim, further_in, deep = (float(np.median(zone)) for zone in zones)
    share = float((zones[-1] < TINT).mean())
    is_glass = share > MOST and rim > TINT and rim - further_in > (rim - deep) / 2
    return share if is_glass else 0.0


def _resized(mask: Mask, shape: tuple[int, ...]) -> Mask:
    rows, columns = (np.arange(now) * before // now for now, before in zip(shape[:2], mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]
