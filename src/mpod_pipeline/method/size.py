"""A product's size as the shop knows it: any of width, height and depth."""

from __future__ import annotations

from math import cos, prod, radians, sin

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.base.parameters import SizeParameters

#: So much may the table's proportions differ from the photo's before somebody should look: a factor.
PROPORTION_TOLERANCE = 1.15


def stretch_to(extents: NDArray[np.floating], size: SizeParameters) -> NDArray[np.floating]:
    """What a model's axes are to be multiplied by, to have the proportions that are told.

    An axis of which nothing is told goes with the mean of the others.

    Args:
        extents: The model's own, [3].
        size: What the shop tells of width, height and depth.

    Returns:
        The factors, [3].
    """
    factors = [told / extent if told else None for told, extent in zip(size.told_cm, extents, strict=True)]
    known = [factor for factor in factors if factor]
    mean = prod(known) ** (1 / len(known)) if known else 1.0
    return np.array([(factor or mean) / mean for factor in factors])


def long_side_m(extents: NDArray[np.floating], size: SizeParameters, otherwise: float) -> float:
    """The longest side in metres of a model that has the told proportions; ``otherwise`` where nothing is told."""
    for told, extent in zip(size.told_cm, extents, strict=True):
        if told:
            return told / 100 * float(max(extents) / extent)
    return otherwise


def contradiction(height_by_width: float, elevation_deg: float, size: SizeParameters) -> str:
    """A sentence where the proportions of the front photo are not those that are told; else nothing.

    A camera above the product sees its height H and its depth D as H cos e + D sin e; an untold depth counts as the
    width.
    """
    if not (size.width_cm and size.height_cm):
        return ""
    e, depth = radians(elevation_deg), size.depth_cm or size.width_cm
    told = (size.height_cm * cos(e) + depth * sin(e)) / size.width_cm
    if 1 / PROPORTION_TOLERANCE < height_by_width / told < PROPORTION_TOLERANCE:
        return ""
    return (
        f"the sizes do not fit the photo: width {size.width_cm:g} cm and height {size.height_cm:g} cm would be seen "
        f"{told:.2f} times as high as wide, and the photo shows {height_by_width:.2f}"
    )
