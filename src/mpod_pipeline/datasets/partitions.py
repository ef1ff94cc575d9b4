"""A folder with one file per product."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from kedro_datasets._typing import ImagePreview
from PIL import Image

from mpod_pipeline.base.atomic import told_what_cannot_be_written, whole_file
from mpod_pipeline.base.text import number_of, some
from mpod_pipeline.datasets.codecs import CODECS, Codec
from mpod_pipeline.datasets.place import AtPath
from mpod_pipeline.datasets.previews import PRODUCTS, picture_grid
from mpod_pipeline.datasets.product_ids import what_is_wrong_with


@dataclass(frozen=True)
class Partition:
    """One product's artifact on disk. Calling it reads it."""

    path: Path
    codec: Codec

    def __call__(self) -> Any:
        return self.codec.read(self.path)


class Partitions(Mapping[str, Partition]):
    """What a folder holds, by product id. Nothing is read before a partition is called.

    Every look goes to the disk, so that files that come later are seen and memory does not grow with their
    number. A folder that does not exist is empty.
    """

    def __init__(self, folder: Path, codec: Codec) -> None:
        self.folder = folder
        self.codec = codec

    def path(self, product: str) -> Path:
        """Where the product's file is, or would be written. Raises ValueError for an id that is no file name."""
        if problem := what_is_wrong_with(product):
            raise ValueError(f"{product!r}: {problem}")
        return self._find(product) or self.folder / f"{product}{self.codec.suffixes[0]}"

    def __getitem__(self, product: str) -> Partition:
        path = None if what_is_wrong_with(product) else self._find(product)
        if path is None:
            raise KeyError(product)
        return Partition(path, self.codec)

    def __contains__(self, product: object) -> bool:
        return isinstance(product, str) and not what_is_wrong_with(product) and self._find(product) is not None

    def _find(self, product: str) -> Path | None:
        candidates = (self.folder / f"{product}{suffix}" for suffix in self.codec.suffixes)
        return next((path for path in candidates if path.is_file()), None)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._products()))

    def __repr__(self) -> str:
        names = f": {some(self, count)}" if (count := len(self)) else ""
        return f"{self.folder.name} of {number_of(count, 'product')}{names}"

    def __len__(self) -> int:
        return len(self._products())

    def _products(self) -> set[str]:
        try:
            files = (entry for entry in os.scandir(self.folder) if entry.is_file())
            names = [file.name for file in files if not file.name.startswith(".")]
        except (FileNotFoundError, NotADirectoryError):
            return set()
        return {
            name.removesuffix(suffix)
            for suffix in self.codec.suffixes
            for name in names
            if name.endswith(suffix) and not what_is_wrong_with(name.removesuffix(suffix))
        }


class ProductPartitions(AtPath[dict[str, Any], Partitions]):
    """Artifacts of one kind, one file per product.

    Saving adds or replaces the products that it is given, each in one step. None in place of an artifact removes the
    file.

    Args:
        path: The folder.
        format: A name in `codecs.CODECS`.
        metadata: For Kedro-Viz.

    Example:
        >>> import tempfile
        >>> scores = ProductPartitions(path=tempfile.mkdtemp(), format="json")
        >>> scores.save({"mug": {"psnr": 23.6}})
        >>> {product: scores.load()[product]() for product in scores.load()}
        {'mug': {'psnr': 23.6}}
    """

    def __init__(self, *, path: str, format: str, metadata: dict[str, Any] | None = None) -> None:
        if format not in CODECS:
            raise ValueError(f"format {format!r} is not known; choose one of {', '.join(CODECS)}")
        super().__init__(path=path, metadata=metadata)
        self.format = format

    def load(self) -> Partitions:
        return Partitions(self.path, CODECS[self.format])

    def save(self, data: dict[str, Any]) -> None:
        codec = CODECS[self.format]
        for product, value in data.items():
            if problem := what_is_wrong_with(product):
                raise ValueError(f"{product!r}: {problem}")
            target = self.path / f"{product}{codec.suffixes[0]}"
            with told_what_cannot_be_written(target):
                if value is None:
                    target.unlink(missing_ok=True)
                    continue
                with whole_file(target) as path:
                    codec.write(value, path)

    def _exists(self) -> bool:
        return len(self.load()) > 0


class PicturePartitions(ProductPartitions):
    """Pictures, one PNG per product, with a preview in Kedro-Viz."""

    def __init__(self, *, path: str, format: str = "png", metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path, format=format, metadata=metadata)

    def preview(self) -> ImagePreview:
        """The first few, as base64 of a PNG."""
        pictures = self.load()
        return picture_grid([Image.open(pictures[product].path) for product in islice(pictures, PRODUCTS)])


class MeshPartitions(ProductPartitions):
    """GLBs, one per product, with a preview in Kedro-Viz."""

    def __init__(self, *, path: str, format: str = "glb", metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path, format=format, metadata=metadata)

    def preview(self) -> ImagePreview:
        """The first few from four sides, as base64 of a PNG."""
        meshes = self.load()
        pictures = (meshes[product]()._repr_png_() for product in islice(meshes, PRODUCTS))
        return picture_grid([Image.open(io.BytesIO(picture)) for picture in pictures if picture])
