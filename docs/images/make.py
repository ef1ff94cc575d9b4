"""The README's pictures, from what a run left in its workspace.

    python docs/images/make.py data docs/images/demo.png
    python docs/images/make.py WORKSPACE PICTURE [PRODUCT ...]

Two rows a product: the photo and the model from its own view, from the sides, behind and above; and the normals.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mpod_pipeline.method.turntable import COLUMNS

#: Of a sheet's cells: the photo, the model from 0, 90, 180 and 270 degrees, and from above.
SHOWN = (0, 1, 3, 5, 7, 9)
#: Pixels of a view in the picture.
SIDE = 240


def row(sheet: Path) -> np.ndarray:
    with Image.open(sheet) as image:
        side = image.width // COLUMNS
        places = [(index % COLUMNS * side, index // COLUMNS * side) for index in SHOWN]
        cells = [image.crop((left, top, left + side, top + side)).resize((SIDE, SIDE)) for left, top in places]
        return np.concatenate([np.asarray(cell.convert("RGB")) for cell in cells], axis=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("picture", type=Path, help="where it goes; its ending says the format")
    parser.add_argument("products", nargs="*", help="all, if none is named")
    given = parser.parse_args()
    reporting = given.workspace / "08_reporting"
    products = given.products or sorted(path.stem for path in (reporting / "turntables").glob("*.png"))
    if not products:
        parser.error(f"{reporting / 'turntables'} has no pictures")
    rows = [row(reporting / kind / f"{product}.png") for product in products for kind in ("turntables", "normals")]
    Image.fromarray(np.concatenate(rows)).save(given.picture, optimize=True)


if __name__ == "__main__":
    main()
