"""A folder of product photos, with or without a ``products.csv`` that names them."""

from __future__ import annotations

import csv
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from kedro.io import AbstractDataset

from mpod_pipeline.datasets.product_ids import as_file_systems_see, stand_in_for, what_is_wrong_with
from mpod_pipeline.errors import ProductError, SetupError

logger = logging.getLogger(__name__)

#: What a photo's name may end with, in any case.
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".png",
        ".webp",
        ".bmp",
        ".tif",
        ".tiff",
        ".gif",
        ".avif",
        ".jp2",
        ".j2k",
        ".heic",
        ".heif",
    )
)
#: What follows the id in the name of a mask that somebody drew for a product, beside its photo.
MASK = ".mask.png"
TABLE = "products.csv"
#: Columns of the table that stand for a stage's parameters of these names, for the row's product alone.
SETTINGS = ("photo_elevation_deg", "long_side_m")
SURPLUS = "beyond the last column"


@dataclass(frozen=True)
class Photo:
    """One product's photo. Calling it reads the file's bytes; ProductError if that cannot be done."""

    path: Path

    def __call__(self) -> bytes:
        try:
            return self.path.read_bytes()
        except FileNotFoundError:
            raise ProductError(f"The photo {self.path.name} does not exist.") from None
        except OSError as error:
            raise ProductError(f"The photo {self.path.name} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True)
class Unusable:
    """An entry of the catalog that names no usable photo. Calling it raises ProductError with the reason."""

    reason: str
    path: None = None

    def __call__(self) -> bytes:
        raise ProductError(self.reason)


class Photos(Mapping[str, Callable[[], bytes]]):
    """The catalog's photos by product id, in the catalog's order. Entries that cannot be used are in it, too.

    An id that is no file name is replaced by a stand-in; `written_as` tells how the catalog writes it.
    """

    def __init__(self, entries: Mapping[str, Photo | Unusable], originals: Mapping[str, str]) -> None:
        self._entries = entries
        self._originals = originals

    def __getitem__(self, product: str) -> Photo | Unusable:
        return self._entries[product]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def written_as(self, product: str) -> str:
        return self._originals.get(product, product)

    def masks(self) -> dict[str, Photo]:
        """The masks that lie beside the photos, of the products that have one."""
        beside = {
            product: entry.path.with_name(product + MASK)
            for product, entry in self._entries.items()
            if entry.path
        }
        return {product: Photo(path) for product, path in beside.items() if path.is_file()}


class PhotoFolder(AbstractDataset[None, Photos]):
    """Photos to make products of.

    With a ``products.csv`` (columns ``id`` and ``photo``; for others see `ProductSettings`) its rows are the catalog,
    and ``photo`` is a path within the folder. Without one, every photo in the folder is a product and its
    name without the suffix is the id; but ``ID.mask.png`` is the mask of the product ID. Raises
    SetupError if the folder or a column is missing; a bad row is that product's trouble.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.metadata = metadata

    def load(self) -> Photos:
        if not self.path.is_dir():
            raise SetupError(
                f"The folder of photos {self.path} does not exist; set it by --params=photos=FOLDER."
            )
        table = self.path / TABLE
        if table.is_file():
            _warn_of_misspelt(table)
        photos = _collect(_rows(table) if table.is_file() else _files(self.path))
        for mask in sorted(self.path.glob("*" + MASK)):
            if mask.name.removesuffix(MASK) not in photos:
                logger.warning("%s is the mask of no product; it is left alone.", mask)
        return photos

    def save(self, data: None) -> None:
        raise SetupError("The folder of photos is only read.")

    def _exists(self) -> bool:
        return self.path.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class ProductSettings(AbstractDataset[None, dict[str, dict[str, str]]]):
    """What a folder's ``products.csv`` says of single products in the columns `SETTINGS`, by id and column; empty
    cells say nothing, nor does a folder without a table.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.metadata = metadata

    def load(self) -> dict[str, dict[str, str]]:
        table = self.path / TABLE
        if not table.is_file():
            return {}
        return {row["id"]: {name: row[name] for name in SETTINGS if row.get(name)} for _, row in _read(table)}

    def save(self, data: None) -> None:
        raise SetupError("The table of products is only read.")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


def _collect(named: Iterator[tuple[str, Photo | Unusable]]) -> Photos:
    entries: dict[str, Photo | Unusable] = {}
    originals: dict[str, str] = {}
    seen: dict[str, str] = {}
    for original, entry in named:
        product = original
        problem = what_is_wrong_with(original)
        if not problem and (other := seen.setdefault(as_file_systems_see(original), original)) != original:
            problem = f"The id {original!r} would share files with {other!r} on macOS and Windows; please change one."
        if problem:
            product, entry = stand_in_for(original), Unusable(problem)
            originals[product] = original
        if product in entries:
            entry = Unusable(f"The id {original!r} is given to more than one photo; please keep one of them.")
        entries[product] = entry
    return Photos(entries, originals)


def _files(folder: Path) -> Iterator[tuple[str, Photo | Unusable]]:
    for path in sorted(folder.iterdir()):
        named_as_photo = path.suffix.lower() in SUFFIXES and not path.name.endswith(MASK)
        if named_as_photo and not path.name.startswith(".") and path.is_file():
            yield path.stem, Photo(path)


def _rows(table: Path) -> Iterator[tuple[str, Photo | Unusable]]:
    for line, row in _read(table):
        if not (product := row["id"]):
            yield f"(line {line})", Unusable("The product has no id.")
        elif SURPLUS in row:
            yield (
                product,
                Unusable("Its row has more cells than columns; a cell with a comma in it needs quotes."),
            )
        else:
            yield product, _photo_of(table.parent, row["photo"])


def _read(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """The line and the cells of each row, by column; what stands beyond the last column is under `SURPLUS`."""
    try:
        with table.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets like to begin with a BOM
            reader = csv.DictReader(file, restval="")
            if missing := {"id", "photo"} - set(reader.fieldnames or []):
                raise SetupError(
                    f"{table} has no column {' and no column '.join(sorted(missing))}; cells are separated by commas."
                )
            for row in reader:
                beyond = row.pop(None, [])  # type: ignore[call-overload]
                cells = {name: cell.strip() for name, cell in row.items()}
                surplus = {SURPLUS: ",".join(beyond)} if any(cell.strip() for cell in beyond) else {}
                yield reader.line_num, {**cells, **surplus}
    except (UnicodeDecodeError, csv.Error) as error:
        raise SetupError(f"{table} cannot be read as a table in UTF-8: {error}.") from error


def _warn_of_misspelt(table: Path) -> None:
    """A column that is nearly one of `SETTINGS` may be another, and may be a mistake that nothing else would show."""
    header = next(_read(table), (0, {}))[1]
    for column in header.keys() - {*SETTINGS, SURPLUS}:
        if near := get_close_matches(column.lower(), SETTINGS, n=1, cutoff=0.8):
            logger.warning(
                "%s has a column %r, which is left alone; did you mean %r?", table, column, near[0]
            )


def _photo_of(folder: Path, photo: str) -> Photo | Unusable:
    if not photo:
        return Unusable("The catalog names no photo for this product.")
    parts = PurePosixPath(photo.replace("\\", "/")).parts
    if ".." in parts or photo.startswith(("/", "\\")) or PureWindowsPath(photo).drive or "\0" in photo:
        return Unusable(f"The photo {photo!r} does not lie in the catalog's folder; please put it there.")
    path = folder.joinpath(*parts)
    if path.suffix.lower() not in SUFFIXES:
        return Unusable(f"The photo {photo!r} has no picture's file name, such as .jpg or .png.")
    return Photo(path)
