"""A folder's ``products.csv``: whatever a spreadsheet makes of it is read as meant, or refused in a sentence."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.files import read_bounded
from mpod_pipeline.base.parameters import LongSideM, PhotoElevationDeg, Share, SizeParameters, Symmetry
from mpod_pipeline.base.text import some
from mpod_pipeline.cutout.photo_file import SIDES

NAME = "products.csv"
NEEDED = ("id",)
PHOTO = "photo"
#: Headings that are likely to be meant for it.
MEANT_FOR_PHOTO = ("foto", "photos", "image", "img", "picture", "file", "filename", "file_name", "path", "bild")
#: Columns of photos of other sides; of a numbered one, a second column says from where it was taken.
SIDE = re.compile(r"photo_(back|left|right|\d+)")
AZIMUTH = "azimuth_{}_deg"
MAX_BYTES = 100_000_000
#: What may stand between cells: a comma, or as spreadsheets of many countries have it.
DELIMITERS = (",", ";", "\t")


class ProductNumbers(SizeParameters):
    """Columns that stand for a step's parameters of these names, for the row's product alone."""

    photo_elevation_deg: PhotoElevationDeg | None = None
    long_side_m: LongSideM | None = None
    roughness: Share | None = None
    metalness: Share | None = None
    category: str = ""
    symmetry: Symmetry = "none"
    title: str = ""


SETTINGS = tuple(ProductNumbers.model_fields)


@dataclass(frozen=True)
class Side:
    """A photo of another side, as a row names it. problem: a sentence on what is wrong with it."""

    name: str
    photo: str
    azimuth_deg: float
    problem: str = ""


@dataclass(frozen=True)
class Row:
    """One product's row. line: where it begins in the file. settings: the texts in the columns `SETTINGS` that say
    something. surplus: whether it has more cells than there are columns.
    """

    line: int
    id: str
    photo: str
    settings: dict[str, str]
    surplus: bool
    sides: tuple[Side, ...] = ()


@dataclass(frozen=True)
class Table:
    """path: of the file. columns: as the file has them. rows: without those that are empty."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def names_photos(self) -> bool:
        """Or else the photos' own names say whose they are."""
        return PHOTO in map(str.lower, self.columns)


def read_table(folder: Path) -> Table | None:
    """The folder's table; None where there is none. Raises SetupError for one that cannot be read as a table."""
    path = table_in(folder, NAME)
    return _read(path) if path else None


def table_in(folder: Path, name: str) -> Path | None:
    """The folder's file of this name, whatever letters are capitals; SetupError where there are several."""
    found = sorted(path for path in folder.iterdir() if path.name.lower() == name)
    if len(found) > 1:
        raise SetupError(f"{folder} holds {some((path.name for path in found), len(found))}; please keep one of them.")
    return found[0] if found else None


def _read(path: Path) -> Table:
    header, cells = read_cells(path, NEEDED)
    lower = [column.lower() for column in header]
    meant = [column for column in lower if column in MEANT_FOR_PHOTO]
    sides = [match[1] for column in lower if (match := SIDE.fullmatch(column))]
    says_nothing_else = not set(SETTINGS) & set(lower)
    needed = (*NEEDED, PHOTO) if meant or sides or says_nothing_else else NEEDED
    others = [*SETTINGS, *(f"{PHOTO}_{side}" for side in sides), *(AZIMUTH.format(side) for side in sides)]
    places = places_of(path, header, needed, others if PHOTO in needed else [PHOTO, *others])
    return Table(path, header, tuple(_row(line, row, places, len(header)) for line, row in cells))


def read_cells(path: Path, needed: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[int, list[str]]]]:
    """A table's header, and its rows that are not empty, each with the line where it begins. needed: columns by which
    it is known what stands between cells. Raises SetupError for a file that cannot be read as a table.
    """
    text = _text(path)
    # strict, or a quotation mark that is not closed would swallow all rows after it
    lines = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=_delimiter(text, needed))
    begins = 1
    rows = []
    try:
        for cells in lines:
            cells = [cell.strip() for cell in cells]
            if any(cells):
                rows.append((begins, cells))
            begins = lines.line_num + 1
    except csv.Error as error:
        raise SetupError(
            f"{path} cannot be read: in the row that begins in line {begins}, a quotation mark is not closed or stands "
            f"within a cell ({error}). Within a quoted cell, write it twice."
        ) from error
    if not rows:
        raise SetupError(f"{path} is empty: it has no column {' and no column '.join(needed)}.")
    return tuple(rows[0][1]), rows[1:]


def _text(path: Path) -> str:
    try:
        data = read_bounded(path, MAX_BYTES)
    except OSError as error:
        raise SetupError(f"{path} cannot be read: {error.strerror}.") from error
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if wide else "utf-8-sig"  # spreadsheets like to begin with a BOM
    advice = "save it as UTF-8, in Excel as 'CSV UTF-8'"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise SetupError(f"{path} is not in UTF-8 (line {line}); {advice}.") from error
    if "\0" in text:
        raise SetupError(f"{path} is not a text in UTF-8; {advice}.")
    return text


def _delimiter(text: str, needed: Sequence[str]) -> str:
    """What the first row's cells are separated by: what makes columns of it that are needed, or else most columns."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    columns = {delimiter: [cell.strip(' "').lower() for cell in first.split(delimiter)] for delimiter in DELIMITERS}
    return max(DELIMITERS, key=lambda delimiter: (set(needed) <= {*columns[delimiter]}, len(columns[delimiter])))


def places_of(path: Path, header: Sequence[str], needed: Sequence[str], others: Sequence[str]) -> dict[str, int]:
    """Where the columns that mean something are, whatever letters are capitals. Raises SetupError where one that is
    needed is missing, or one stands twice.
    """
    lower = [column.lower() for column in header]
    if missing := [name for name in needed if name not in lower]:
        raise SetupError(
            f"{path} has no column {' and no column '.join(missing)}; its first row has: "
            f"{some(header, len(header), shown=10)}. Name the columns so."
        )
    for name in (*needed, *others):
        if lower.count(name) > 1:
            raise SetupError(f"{path} has {lower.count(name)} columns {name}; please keep one of them.")
    return {name: lower.index(name) for name in (*needed, *others) if name in lower}


def _row(line: int, cells: list[str], places: dict[str, int], width: int) -> Row:
    said = {name: cells[place] for name, place in places.items() if place < len(cells)}
    settings = {name: said[name] for name in SETTINGS if said.get(name)}
    sides = tuple(
        _side(match[1], photo, said) for column, photo in said.items() if (match := SIDE.fullmatch(column)) and photo
    )
    return Row(line, said.get("id", ""), said.get(PHOTO, ""), settings, any(cells[width:]), sides)


def _side(name: str, photo: str, said: Mapping[str, str]) -> Side:
    if name in SIDES:
        return Side(name, photo, SIDES[name])
    column = AZIMUTH.format(name)
    azimuth = said.get(column, "")
    with suppress(ValueError):
        turn = float(azimuth)
        if isfinite(turn):
            return Side(name, photo, turn % 360)
    problem = (
        f"The photo in the column photo_{name} needs in the column {column} from where it was taken, in degrees: 90 is "
        f"the right side, 180 the back, 270 the left. It says {azimuth!r}."
    )
    return Side(name, photo, 0.0, problem)
