"""Pictures for Kedro-Viz: several products' in one, in the shape of the panel that shows it."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

from kedro_datasets._typing import ImagePreview
from PIL import Image

#: So many products are shown, in so many pixels at most; the panel is about half as wide again as high.
PRODUCTS = 6
WIDTH, HEIGHT = 1200, 800


def picture_grid(pictures: Sequence[Image.Image]) -> ImagePreview:
    """The pictures on white in rows and columns, as base64 of a PNG; one white pixel if there is none."""
    columns = max(1, _columns([picture.width / picture.height for picture in pictures]))
    rows = max(1, math.ceil(len(pictures) / columns))
    cells = [_fitted(picture, WIDTH // columns, HEIGHT // rows) for picture in pictures]
    width = max((cell.width for cell in cells), default=1)
    height = max((cell.height for cell in cells), default=1)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for number, cell in enumerate(cells):
        row, column = divmod(number, columns)
        sheet.paste(cell, (column * width + (width - cell.width) // 2, row * height + (height - cell.height) // 2))
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return ImagePreview(base64.b64encode(buffer.getvalue()).decode())


def _columns(aspects: Sequence[float]) -> int:
    """How many columns bring the whole nearest to the panel's shape. aspects: width by height, of each picture."""

    def how_far_off(columns: int) -> float:
        rows = math.ceil(len(aspects) / columns)
        return abs(math.log(max(aspects) * columns / rows * HEIGHT / WIDTH))

    return min(range(1, len(aspects) + 1), key=how_far_off, default=1)


def _fitted(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Within the given pixels, on white."""
    scale = min(width / picture.width, height / picture.height)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    small = picture.convert("RGBA").resize(size)
    return Image.alpha_composite(Image.new("RGBA", size, "white"), small).convert("RGB")
