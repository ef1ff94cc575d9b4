"""Folders of photos, written and read."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.datasets import PhotoFolder, Photos


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def load(folder: Path, table: str | None = None) -> Photos:
    if table is not None:
        (folder / "products.csv").write_text(table, encoding="utf-8")
    return PhotoFolder(path=str(folder)).load()


def reason(photos: Photos, product: str) -> str:
    """The sentence by which the photo fails."""
    with pytest.raises(ProductError) as error:
        photos[product]()
    return str(error.value)
