"""A folder of product photos, with or without a ``products.csv`` that names them; or one photo."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import islice
from pathlib import Path, PurePosixPath, PureWindowsPath

from kedro_datasets._typing import ImagePreview
from PIL import Image, ImageOps

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.files import open_regular
from mpod_pipeline.base.parameters import known_to, with_own
from mpod_pipeline.base.text import number_of, readable, some
from mpod_pipeline.cutout.photo_file import FRONT
from mpod_pipeline.datasets.place import ReadOnly
from mpod_pipeline.datasets.previews import HEIGHT, PRODUCTS, WIDTH, picture_grid
from mpod_pipeline.datasets.product_ids import as_file_systems_see, stand_in_for, what_is_wrong_with
from mpod_pipeline.datasets.products_csv import NAME, SETTINGS, ProductNumbers, Row, Table, read_table
from mpod_pipeline.datasets.sides import (
    MASK,
    NO_SIDES,
    FurtherPhoto,
    Photo,
    Sides,
    by_product,
    nearly_sides,
    side_of,
    sides_of,
)

#: What a photo's name may end with, in any case.
_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".jp2", ".j2k")
SUFFIXES = frozenset((*_JPEG, ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif", ".heic", ".heif"))
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
#: So many names that are nearly sides' are told.
TOLD = 3
#: What a product's folder has where each has one of its own.
CUTOUT = "rgba.png"
#: A folder beside photos that is no part of the catalog.
GROUND_TRUTH = "ground_truth"
#: Metres. What a catalog says to be longer is likely to be in centimetres.
LONGEST_M = 5.0


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
    sentences on what may be a mistake and fails no product. further: the photos of other sides, of the products that
    have some.
    """

    def __init__(
        self,
        entries: Mapping[str, Photo | Unusable],
        originals: Mapping[str, str],
        remarks: Sequence[str] = (),
        further: Mapping[str, Sides] | None = None,
    ) -> None:
        self._entries = entries
        self._originals = originals
        self.remarks = tuple(remarks)
        self.further = further or {}

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


class PhotoFolder(ReadOnly[Photos]):
    """Photos to make products of.

    With a ``products.csv`` (columns ``id`` and ``photo``, and those of `ProductNumbers`) its rows are the catalog, and
    ``photo`` is a path within the folder. Without one, or without its column ``photo``, every photo in the folder is a
    product, and its name without the suffix is the id. But ``ID.back.jpg``, ``ID.left.jpg`` and ``ID.right.jpg`` show
    other sides of the product whose front is ``ID.jpg`` or ``ID.front.jpg``, and ``ID.mask.png`` is the mask of the
    product ID. Where there is no photo, each folder in it with an ``rgba.png`` is a product, as RealFusion's authors
    lay theirs out.

    Args:
        path: The folder, or one photo.

    Raises:
        SetupError: There is no photo at all, or the table cannot be read as one. A bad row is that product's failure.
    """

    WHAT = "The folder of photos"

    def load(self) -> Photos:
        try:
            return _photos(self.path)
        except OSError as error:
            raise SetupError(f"The folder of photos {self.path} cannot be read: {error.strerror}.") from error

    def preview(self) -> ImagePreview:
        """The first few that can be read, for Kedro-Viz, as base64 of a PNG."""
        return picture_grid(list(islice(_thumbnails(self.load()), PRODUCTS)))

    def _exists(self) -> bool:
        return self.path.exists()


class FurtherPhotos(ReadOnly[dict[str, Sides]]):
    """The photos of other sides in a folder of photos, by product: ``ID.back.jpg``, or as the table names them."""

    WHAT = PhotoFolder.WHAT

    def load(self) -> dict[str, Sides]:
        return dict(PhotoFolder(path=str(self.path)).load().further)


class PhotoMasks(ReadOnly[dict[str, Photo]]):
    """The masks that somebody drew beside a folder's photos, by product: ``ID.mask.png``, white is the product."""

    WHAT = PhotoFolder.WHAT

    def load(self) -> dict[str, Photo]:
        return PhotoFolder(path=str(self.path)).load().masks()


def _thumbnails(photos: Photos) -> Iterator[Image.Image]:
    for product in photos:
        with suppress(ProductError, OSError, ValueError, Image.DecompressionBombError):
            picture = Image.open(io.BytesIO(photos[product]()))
            picture.draft("RGB", (WIDTH, HEIGHT))  # less to decode
            yield ImageOps.exif_transpose(picture)


class ProductSettings(ReadOnly[dict[str, dict[str, str]]]):
    """What a folder's ``products.csv`` says of single products in the columns `SETTINGS`, by id and column; empty
    cells say nothing, nor does a folder without a table.
    """

    WHAT = "The table of products"

    def load(self) -> dict[str, dict[str, str]]:
        table = read_table(self.path) if self.path.is_dir() else None
        return {row.id: row.settings for row in table.rows} if table else {}


def _photos(place: Path) -> Photos:
    if not place.exists():
        raise SetupError(f"The folder of photos {place} does not exist; set it by --params=photos=FOLDER.")
    if not place.is_dir():
        if place.suffix.lower() not in SUFFIXES:
            raise SetupError(
                f"{place} is neither a folder nor a photo; set --params=photos= to a folder of photos, or to one photo."
            )
        sides, problem = _SideFinder(place.parent).beside(Photo(place))
        product, side = side_of(place.stem)
        entry = Unusable(problem) if problem else Photo(place)
        return _collect([_Named(product if side == FRONT else place.stem, place.name, entry, sides)])
    table = read_table(place)
    if table is None and (nested := _in_folders_of_their_own(place)):
        photos = _collect(nested)
    elif table is None:
        folder = _Folder.look_at(place)
        photos = _collect(folder.products(), folder.remarks())
    elif not table.rows:
        raise SetupError(f"{table.path} names no product: it has a header and no row.")
    elif table.names_photos:
        finder = _SideFinder(place, (row.photo for row in table.rows))
        photos = _collect((_product_of(row, place, finder) for row in table.rows), _remarks_on(table))
    else:
        folder = _Folder.look_at(place)
        photos = _collect(_with_rows(folder, table), [*folder.remarks(table.path), *_remarks_on(table)])
    if nearly := list(nearly_sides(photos, (entry.path for product in photos if (entry := photos[product]).path))):
        photos.remarks += (*nearly[:TOLD], *([f"... and {len(nearly) - TOLD} more."] if len(nearly) > TOLD else []))
    masks = sorted(path.name for path in place.glob("*" + MASK))
    of_sides = {photo.mask.name for sides in photos.further.values() for photo in sides.photos}
    if strays := [name for name in masks if name not in of_sides and name.removesuffix(MASK) not in photos]:
        photos.remarks += (f"Masks of no product in {place} are left alone: {some(strays, len(strays))}.",)
    return photos


def _in_folders_of_their_own(place: Path) -> list[_Named]:
    """The products of a folder as RealFusion's authors lay theirs out: ``ID/rgba.png``, and no photo beside them.
    (Its ``mask.png`` is the alpha of that; the word in ``learned_embeds.bin`` is not read, as each word is learnt.)
    """
    if any(_is_named_as_photo(path) for path in place.iterdir() if path.is_file()):
        return []
    cutouts = sorted(place.glob(f"[!.]*/{CUTOUT}"))
    return [_Named(path.parent.name, f"{path.parent.name}/{CUTOUT}", Photo(path)) for path in cutouts]


@dataclass(frozen=True)
class _Named:
    """A product's id and its photo as the catalog writes them, what the photo is, and the photos of other sides."""

    id: str
    photo: str
    entry: Photo | Unusable
    sides: Sides = NO_SIDES


def _collect(named: Iterable[_Named], remarks: Iterable[str] = ()) -> Photos:
    entries: dict[str, Photo | Unusable] = {}
    originals: dict[str, str] = {}
    names: dict[str, list[str]] = {}
    seen: dict[str, str] = {}
    further: dict[str, Sides] = {}
    for one in named:
        product, entry = one.id, one.entry
        problem = what_is_wrong_with(one.id)
        if not problem and (other := seen.setdefault(as_file_systems_see(one.id), one.id)) != one.id:
            problem = f"The id {one.id!r} would share files with {other!r} on macOS and Windows; please change one."
        if problem:
            product, entry = stand_in_for(one.id), Unusable(problem)
            originals[product] = readable(one.id)
        names.setdefault(product, []).append(one.photo)
        if (count := len(names[product])) > 1:
            entry = Unusable(
                f"The id {readable(one.id)!r} is given to more than one photo ({some(names[product], count)}); "
                "please keep one of them."
            )
        entries[product] = entry
        if one.sides.photos:
            further[product] = one.sides
    return Photos(entries, originals, tuple(remarks), further)


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
        for product, photos in by_product(self.photos).items():
            sides, problem = sides_of(photos)
            if not photos.get(FRONT):
                name, *_ = (path.name for side in photos.values() for path in side)
                problem = (
                    f"{name} shows a side of {readable(product)}, and there is no photo of the front; name that "
                    f"{readable(product)}.front.jpg, or this one otherwise if it is a product of its own."
                )
                yield _Named(product, name, Unusable(problem))
            for path in photos.get(FRONT, ()):
                yield _Named(product, path.name, Unusable(problem) if problem else Photo(path), sides)

    def remarks(self, table: Path | None = None) -> Iterator[str]:
        """table: that is read."""
        if tables := [file for file in self.others if TABLE.search(file.name) and file != table]:
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


def _with_rows(folder: _Folder, table: Table) -> Iterator[_Named]:
    """The folder's products, of which a table without the column ``photo`` says more."""
    rows: dict[str, list[Row]] = {}
    for row in table.rows:
        rows.setdefault(row.id, []).append(row)
    for named in folder.products():
        problem = _problem_of_rows(rows.pop(named.id, []))
        yield replace(named, entry=Unusable(problem)) if problem else named
    for of_nobody in rows.values():
        for row in of_nobody if not of_nobody[0].id else of_nobody[:1]:
            problem = _problem_of_rows(of_nobody) or f"There is no photo {row.id}.jpg in {folder.path}."
            yield _Named(row.id or f"(line {row.line})", "", Unusable(problem))


def _problem_of_rows(rows: Sequence[Row]) -> str:
    """A sentence on what makes the rows of one id unusable."""
    if len(rows) > 1 and rows[0].id:
        lines = some((str(row.line) for row in rows), len(rows))
        return f"The table has {len(rows)} rows for the id {readable(rows[0].id)!r} (lines {lines}); please keep one."
    return _problem_of(rows[0]) if rows else ""


class _SideFinder:
    """Finds the photos of a product's other sides.

    They are those that its row names. Without these, they are the photos that lie beside the front's and are named
    after it, unless they are products of their own.
    """

    def __init__(self, folder: Path, fronts: Iterable[str] = ()) -> None:
        """fronts: the photos that are products' own, as the table writes them."""
        self._folder = folder
        self._fronts = {_normal(folder / front) for front in fronts}
        self._seen: dict[Path, dict[str, dict[str, list[Path]]]] = {}

    def of_row(self, row: Row, front: Photo) -> tuple[Sides, str]:
        """Them, and a sentence where they cannot be used."""
        return self._named(row) if row.sides else self.beside(front)

    def beside(self, front: Photo) -> tuple[Sides, str]:
        """Those that lie beside a front, by their names."""
        product, side = side_of(front.path.stem)
        if side != FRONT:
            return NO_SIDES, ""
        there = self._photos_in(front.path.parent).get(product, {})
        return sides_of({side: [p for p in paths if _normal(p) not in self._fronts] for side, paths in there.items()})

    def _photos_in(self, folder: Path) -> dict[str, dict[str, list[Path]]]:
        if folder not in self._seen:
            try:
                there = sorted(path for path in folder.iterdir() if _is_named_as_photo(path))
            except OSError:
                there = []
            self._seen[folder] = by_product(there)
        return self._seen[folder]

    def _named(self, row: Row) -> tuple[Sides, str]:
        photos = []
        for side in row.sides:
            if side.problem:
                return NO_SIDES, side.problem
            photo = _photo_of(self._folder, side.photo)
            if isinstance(photo, Unusable):
                return NO_SIDES, photo.reason
            photos.append(FurtherPhoto(side.name, side.azimuth_deg, photo))
        return Sides(tuple(photos)), ""


def _normal(path: Path) -> str:
    return os.path.normpath(str(path).replace("\\", "/"))


def _product_of(row: Row, folder: Path, finder: _SideFinder) -> _Named:
    if problem := _problem_of(row):  # told at once, and not when a later step comes to it
        return _Named(row.id or f"(line {row.line})", row.photo, Unusable(problem))
    photo = _photo_of(folder, row.photo)
    if isinstance(photo, Unusable):
        return _Named(row.id, row.photo, photo)
    sides, problem = finder.of_row(row, photo)
    return _Named(row.id, row.photo, Unusable(problem) if problem else photo, sides)


def _problem_of(row: Row) -> str:
    """A sentence on what makes a row unusable."""
    if not row.id:
        return "The product has no id."
    if row.surplus:
        return "Its row has more cells than columns; a cell with a comma in it needs quotes."
    return _wrong_number(row)


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
        yield f"{table.path} has {number_of(len(wrong), 'row')} with an entry that cannot be. {some(wrong, len(wrong))}"
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
