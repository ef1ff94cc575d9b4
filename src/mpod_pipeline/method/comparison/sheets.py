"""Contact sheets, as the paper's Figures 4 and 5 (all methods) and 6 (the ablations): a row per method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from mpod_pipeline.method.comparison.views import ModelViews

#: Pixels of a view, and of the column of names.
CELL, NAMES = 128, 110
Picture = NDArray[np.uint8]


def contact_sheet(photo: Picture, views: Mapping[str, ModelViews | None], count: int) -> Picture:
    """One product, a row per method: its name, the photo [S, S, 3], and the model from the photo's camera and from
    ``count`` places all round. Where a method has no model of it, the row says so.
    """
    rows = [_row(name, [photo, *_chosen(of, count)] if of else None, count + 2) for name, of in views.items()]
    return np.concatenate(rows)


def _chosen(views: ModelViews, count: int) -> list[Picture]:
    """The photo's view, then so many of the others, evenly."""
    others = len(views.pictures) - 1
    return [views.pictures[0], *(views.pictures[1 + others * i // count] for i in range(count))]


def _row(name: str, pictures: Sequence[Picture] | None, cells: int) -> Picture:
    row = Image.new("RGB", (NAMES + cells * CELL, CELL), "white")
    ImageDraw.Draw(row).text((6, CELL // 2 - 6), name, fill="black")
    for place, picture in enumerate(pictures or ()):
        row.paste(Image.fromarray(picture).resize((CELL, CELL), Image.Resampling.BICUBIC), (NAMES + place * CELL, 0))
    if pictures is None:
        ImageDraw.Draw(row).text((NAMES + 6, CELL // 2 - 6), "no model (see failures.csv)", fill="grey")
    return np.asarray(row)
