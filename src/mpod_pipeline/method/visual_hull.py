"""What photos from all round say is solid: the core of their visual hull.

Photos taken from about the product's own height see a table's top edge on. A thin fog there looks as solid to them as
a board does, and from above it is fog. So what lies deep within all silhouettes is made solid.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from mpod_pipeline.method.cavities import CELLS, cell_middles, within_silhouettes
from mpod_pipeline.method.cutouts import Cutouts, reference_view

#: Pixels of the masks, and what a mask says at least of a point that its photo sees as the product.
RESOLUTION, INSIDE = 96, 0.9
#: How deep the core lies, as a share of the greatest depth in its piece of a horizontal section. Four photos see a
#: cylinder's section as a square: its corners reach in by 0.29.
DEEP = 0.3


def core_of_hull(photos: Cutouts, bound: float, empty: Tensor | None = None) -> Tensor:
    """Middles [N, 3] of the world's cells that lie deep within the silhouettes of all photos.

    Args:
        photos: From the front and from a side at least.
        bound: Half the edge of the world's box.
        empty: Middles of cells that are known to be so, [M, 3].
    """
    middles = cell_middles(bound)
    masks = torch.stack([reference_view(photo.picture, RESOLUTION).mask > INSIDE for photo in photos.photos])
    hull = within_silhouettes(middles.view(-1, 3), masks, photos.cameras).all(dim=0).view(middles.shape[:3])
    if empty is not None:
        hull[((empty / bound + 1) / 2 * CELLS).long().unbind(-1)] = False
    sections = hull.numpy().transpose(2, 0, 1)
    return middles[torch.from_numpy(np.stack([deep_within(section) for section in sections], axis=-1))]


def deep_within(section: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The cells of a section [A, B] that lie `DEEP` within their piece of it."""
    depth = ndimage.distance_transform_edt(np.pad(section, 1))[1:-1, 1:-1] - 0.5  # of a cell's middle
    pieces, count = ndimage.label(section)
    deepest = np.append(0.0, ndimage.maximum(depth, pieces, np.arange(1, count + 1)))
    deep: NDArray[np.bool_] = section & (depth >= DEEP * deepest[pieces])
    return deep
