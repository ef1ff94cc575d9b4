"""A folder of product photos, with or without a ``products.csv`` that names them; or one photo."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from kedro.io import AbstractDataset
from kedro_datasets._typing import ImagePreview
from PIL import Image, ImageOps

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.files import open_regular, read_bounded
from mpod_pipeline.base.own_parameters import known_to, with_own
from mpod_pipeline.base.text import number_of, readable, some
from mpod_pipeline.datasets.previews import HEIGHT, PRODUCTS, WIDTH, picture_grid
from mpod_pipeline.datasets.product_ids import as_file_systems_see, stand_in_for, what_is_wrong_with
from mpod_pipeline.datasets.products_csv import NAME, SETTINGS, ProductNumbers, Row, Table, read_table

#: What a photo's name may end with, in any case.
SUFFIXES = frozenset(
    (
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
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
#: More than 100 megapixels of 16 bits take in most files.
MAX_BYTES = 500_000_000
#: What pictures begin with, whatever their names say: those that are read, and Photoshop's, JPEG XL and cameras' raw.
SIGNATURE = re.compile(
    rb"\xff\xd8\xff|\x89PNG|GIF8|II\*\0|MM\0\*|RIFF....WEBP|\0\0\0\x0c(JXL|jP) |\xff\x0a|8BPS"
    rb"|....ftyp(hei[cx]|mif1|avif|crx )",
    re.DOTALL,
)
#: What may be meant for a table of the products.
TABLE = re.compile(r"\.(csv|tsv|xlsx?|ods)(\.txt)?$", re.IGNORECASE)
#: So many files of other kinds are looked into at most.
LOOKED_INTO = 200
#: A folder beside photos that is no part of the catalog.
GROUND_TRUTH = "ground_truth"
#: Metres. What a catalog says to be longer is likely to be in centimetres.
LONGEST_M = 5.0
#: What follows the id in the name of a mask that somebody drew for a product, beside its photo.
MASK = ".mask.png"


@dataclass(frozen=True)
class Photo:
    """One product's photo. Calling it reads the file's bytes; ProductError if that cannot be done."""

    path: Path

    def __call__(self) -> bytes:
        where = readable(str(self.path))
        try:
            return read_bounded(self.path, MAX_BYTES)
        except FileNotFoundError:
            raise ProductError(f"The photo {where} does not exist.") from None
        except OSError as error:
            raise ProductError(f"The photo {where} cannot be read: {error.strerror}.") from error


@dataclass(frozen=True)
class Unusable:
    """An entry of the catalog that names no usable photo. Calling it raises ProductError with the reason."""

    reason: str
    path: None = None

    def __call__(self) -> bytes:
        raise ProductError(self.reason)


class Photos(Mapping[str, Callable[[], bytes]]):
    """The catalog's photos by product id, in the catalog's order. Entries that cannot be used are in it, too.

    An id that is no file name is replaced by a stand-in; `written_as` tells how the catalog writes it. remarks:
    sentences on what may be a mistake and fails no product.
    """

    def __init__(
        self, entries: Mapping[str, Photo | Unusable], originals: Mapping[str, str], remarks: Sequence[str] = ()
    ) -> None:
        self._entries = entries
        self._originals = originals
        self.remarks = tuple(remarks)

    def __getitem__(self, product: str) -> Photo | Unusable:
        return self._entries[product]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"{number_of(len(self), 'photo')}: {some(self, len(self))}"

    def written_as(self, product: str) -> str:
        return self._originals.get(product, product)

    def masks(self) -> dict[str, Photo]:
        """The masks that lie beside the photos, of the products that have one."""
        beside = {
            product: entry.path.with_name(product + MASK) for product, entry in self._entries.items() if entry.path
        }
        return {product: Photo(path) for product, path in beside.items() if os.path.isfile(path)}  # noqa: PTH113


class PhotoFolder(AbstractDataset[None, Photos]):
    """Photos to make products of.

    With a ``products.csv`` (columns ``id`` and ``photo``, and those of `ProductNumbers`) its rows are the catalog,
    and ``photo`` is a path within the folder. Without one, every photo in the folder is a product and its name without
    the suffix is the id; but ``ID.mask.png`` is the mask of the product ID. In place of the folder, ``path`` may be one
    photo. Raises SetupError if there is no photo at all, or the table cannot be read as one; a bad row is that
    product's trouble.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.metadata = metadata

    def load(self) -> Photos:
        try:
            return _photos(self.path)
        except OSError as error:
            raise SetupError(f"The folder of photos {self.path} cannot be read: {error.strerror}.") from error

    def preview(self) -> ImagePreview:
        """The first few that can be read, for Kedro-Viz, as base64 of a PNG."""
        return picture_grid(list(islice(_thumbnails(self.load()), PRODUCTS)))

    def save(self, data: None) -> None:
        raise SetupError("The folder of photos is only read.")

    def _exists(self) -> bool:
        return self.path.exists()

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


class PhotoMasks(AbstractDataset[None, dict[str, Photo]]):
    """The masks that somebody drew beside a folder's photos, by product: ``ID.mask.png``, white is the product."""

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.metadata = metadata
        self._photos = PhotoFolder(path=path)

    def load(self) -> dict[str, Photo]:
        return self._photos.load().masks()

    def save(self, data: None) -> None:
        raise SetupError("The folder of photos is only read.")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self._photos.path)}


def _thumbnails(photos: Photos) -> Iterator[Image.Image]:
    for product in photos:
        with suppress(ProductError, OSError, ValueError, Image.DecompressionBombError):
            picture = Image.open(io.BytesIO(photos[product]()))
            picture.draft("RGB", (WIDTH, HEIGHT))  # less to decode
            yield ImageOps.exif_transpose(picture)


class ProductSettings(AbstractDataset[None, dict[str, dict[str, str]]]):
    """What a folder's ``products.csv`` says of single products in the columns `SETTINGS`, by id and column; empty
    cells say nothing, nor does a folder without a table.
    """

    def __init__(self, *, path: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.metadata = metadata

    def load(self) -> dict[str, dict[str, str]]:
        table = read_table(self.path) if self.path.is_dir() else None
        return {row.id: row.settings for row in table.rows} if table else {}

    def save(self, data: None) -> None:
        raise SetupError("The table of products is only read.")

    def _describe(self) -> dict[str, Any]:
        return {"path": str(self.path)}


def _photos(place: Path) -> Photos:
    if not place.exists():
        raise SetupError(f"The folder of photos {place} does not exist; set it by --params=photos=FOLDER.")
    if not place.is_dir():
        if place.suffix.lower() not in SUFFIXES:
            raise SetupError(
                f"{place} is neither a folder nor a photo; set --params=photos= to a folder of photos, or to one photo."
            )
        return _collect([(place.stem, place.name, Photo(place))])
    table = read_table(place)
    if table is None:
        folder = _Folder.look_at(place)
        photos = _collect(folder.products(), folder.remarks())
    elif not table.rows:
        raise SetupError(f"{table.path} names no product: it has a header and no row.")
    else:
        photos = _collect((_product_of(row, place) for row in table.rows), _remarks_on(table))
    masks = sorted(path.name for path in place.glob("*" + MASK))
    if strays := [name for name in masks if name.removesuffix(MASK) not in photos]:
        photos.remarks += (f"Masks of no product in {place} are left alone: {some(strays, len(strays))}.",)
    return photos


#: A product's id, its photo, both as the catalog writes them, and what the photo is.
_Named = tuple[str, str, Photo | Unusable]


def _collect(named: Iterable[_Named], remarks: Iterable[str] = ()) -> Photos:
    entries: dict[str, Photo | Unusable] = {}
    originals: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    for original, name, entry in named:
        product = original
        problem = what_is_wrong_with(original)
        if not problem and (other := seen.setdefault(as_file_systems_see(original), original)) != original:
            problem = f"The id {original!r} would share files with {other!r} on macOS and Windows; please change one."
        if problem:
            product, entry = stand_in_for(original), Unusable(problem)
            originals[product] = readable(original)
        names.setdefault(product, []).append(name)
        if (count := len(names[product])) > 1:
            entry = Unusable(
                f"The id {readable(original)!r} is given to more than one photo ({some(names[product], count)}); "
                "please keep one of them."
            )
        entries[product] = entry
    return Photos(entries, originals, tuple(remarks))


@dataclass(frozen=True)
class _Folder:
    """A folder without a table. Hidden files and folders are not in it."""

    path: Path
    photos: list[Path]
    others: list[Path]
    folders: list[Path]

    @classmethod
    def look_at(cls, path: Path) -> _Folder:
        """Raises SetupError where there is no photo."""
        with os.scandir(path) as entries:  # which mostly know without a further look whether they are folders
            seen = [(path / entry.name, entry.is_dir()) for entry in entries if not entry.name.startswith(".")]
        folders = sorted(entry for entry, is_folder in seen if is_folder)
        files = sorted(entry for entry, is_folder in seen if not is_folder)
        photos = [file for file in files if _is_named_as_photo(file)]
        others = [file for file in files if not _is_named_as_photo(file) and not file.name.endswith(MASK)]
        if not photos:
            there = [
                *([number_of(len(others), "file") + " of other kinds"] if others else []),
                *([f"{number_of(len(folders), 'folder')}: {_names(folders)}"] if folders else []),
            ]
            raise SetupError(
                f"No photo in {path} ({', '.join(there) or 'it is empty'}). Photos lie directly in the folder that "
                f"--params=photos=FOLDER sets, or a {NAME} in it names them."
            )
        return cls(path, photos, others, folders)

    def products(self) -> Iterator[_Named]:
        return ((photo.stem, photo.name, Photo(photo)) for photo in self.photos)

    def remarks(self) -> Iterator[str]:
        if tables := [file for file in self.others if TABLE.search(file.name)]:
            yield f"{self.path} has no {NAME}, and its photos' names are the ids; not read: {_names(tables)}."
        if pictures := [file for file in self.others[:LOOKED_INTO] if _is_picture(file)]:
            yield (
                f"{self.path} holds pictures whose names do not end as those of photos do, and which are left alone: "
                f"{_names(pictures)}. Save them as JPEG or PNG."
            )
        if below := [folder for folder in self.folders if folder.name != GROUND_TRUTH and _holds_photos(folder)]:
            yield f"Photos in folders below are not read: {_names(below)} in {self.path}."


def _names(paths: Sequence[Path]) -> str:
    return some((f"{path.name}/" if path.is_dir() else path.name for path in paths), len(paths))


def _is_named_as_photo(path: Path) -> bool:
    hidden_or_mask = path.name.startswith(".") or path.name.endswith(MASK)
    return path.suffix.lower() in SUFFIXES and not hidden_or_mask


def _holds_photos(folder: Path) -> bool:
    try:
        return any(map(_is_named_as_photo, folder.iterdir()))
    except OSError:  # not for us, as lost+found
        return False


def _is_picture(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return SIGNATURE.match(file.read(16)) is not None
    except OSError:
        return False


def _product_of(row: Row, folder: Path) -> _Named:
    if not row.id:
        return f"(line {row.line})", row.photo, Unusable("The product has no id.")
    if row.surplus:
        reason = "Its row has more cells than columns; a cell with a comma in it needs quotes."
        return row.id, row.photo, Unusable(reason)
    if problem := _wrong_number(row):  # told at once, and not when a later stage comes to it
        return row.id, row.photo, Unusable(problem)
    return row.id, row.photo, _photo_of(folder, row.photo)


def _wrong_number(row: Row) -> str:
    try:
        with_own(ProductNumbers(), known_to(ProductNumbers(), row.settings))
    except ProductError as error:
        return str(error)
    return ""


def _remarks_on(table: Table) -> Iterator[str]:
    """What would show late, as numbers that cannot be, or never, as a column that is nearly one of `SETTINGS`, or
    centimetres for metres.
    """
    if wrong := [f"{row.id}: {problem}" for row in table.rows if (problem := _wrong_number(row))]:
        yield f"{table.path} has {number_of(len(wrong), 'number')} that cannot be. {some(wrong, len(wrong))}"
    for column in table.columns:
        near = get_close_matches(column.lower(), SETTINGS, n=1, cutoff=0.8)
        if near and column.lower() not in SETTINGS:
            yield f"{table.path} has a column {column!r}, which is left alone; did you mean {near[0]!r}?"
    sizes = {row.id: known_to(ProductNumbers(), row.settings).get("long_side_m", 0.0) for row in table.rows}
    large = [f"{product} {size:g}" for product, size in sizes.items() if _is_large(size)]
    if large:
        yield (
            f"{table.path} says in the column long_side_m, which is in metres: {some(large, len(large))}. "
            "Are these centimetres?"
        )


def _is_large(size: float | str) -> bool:
    return isinstance(size, float) and size > LONGEST_M


def _photo_of(folder: Path, photo: str) -> Photo | Unusable:
    if not photo:
        return Unusable("The catalog names no photo for this product.")
    if "://" in photo:
        return Unusable(f"The photo {photo!r} is an address, and photos are not fetched; put the file into {folder}.")
    parts = PurePosixPath(photo.replace("\\", "/")).parts
    if ".." in parts or photo.startswith(("/", "\\")) or PureWindowsPath(photo).drive or "\0" in photo:
        return Unusable(f"The photo {photo!r} does not lie in the catalog's folder; please put it there.")
    path = folder.joinpath(*parts)
    if path.suffix.lower() not in SUFFIXES:
        return Unusable(f"The photo {photo!r} has no picture's file name, such as .jpg or .png.")
    return Photo(path)
