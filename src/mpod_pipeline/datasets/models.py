"""A folder of models that others made (GLBs), with or without a ``models.csv`` that says more of them."""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.files import read_bounded
from mpod_pipeline.base.text import number_of, readable, some
from mpod_pipeline.datasets.place import ReadOnly
from mpod_pipeline.datasets.products_csv import places_of, read_cells, table_in

NAME = "models.csv"
NEEDED = ("file",)
OTHERS = ("caption", "split", "front", "up")
SUFFIX = ".glb"
SPLITS = ("train", "validation")
AXES = ("+x", "-x", "+y", "-y", "+z", "-z")
#: As glTF has them.
FRONT, UP = "+z", "+y"
#: One in so many models is kept aside, where no table says which.
KEPT_ASIDE = 5
MAX_BYTES = 500_000_000


@dataclass(frozen=True)
class ModelFile:
    """One model. Calling it reads its bytes; ProductError if that cannot be done.

    split: train, or validation for one that is kept aside. front, up: axes of the file, such as ``-y``.
    """

    path: Path
    caption: str
    split: str
    front: str = FRONT
    up: str = UP

    @property
    def name(self) -> str:
        return self.path.stem

    def __call__(self) -> bytes:
        try:
            return read_bounded(self.path, MAX_BYTES)
        except OSError as error:
            raise ProductError(f"The model {readable(str(self.path))} cannot be read: {error.strerror}.") from error

    def digest(self) -> str:
        """A short text of all that it is. Raises ProductError as a call does."""
        said = [self.name, self.caption, self.split, self.front, self.up]
        return hashlib.sha256("\n".join(said).encode() + hashlib.sha256(self()).digest()).hexdigest()[:12]


class Models(Sequence[ModelFile]):
    """The folder's models by name; none without a folder."""

    def __init__(self, files: Iterable[ModelFile] = ()) -> None:
        self._files = sorted(files, key=lambda file: file.name)

    def __getitem__(self, index: Any) -> Any:
        return self._files[index]

    def __len__(self) -> int:
        return len(self._files)

    def __repr__(self) -> str:
        return f"{number_of(len(self), 'model')}: {some((file.name for file in self), len(self))}"

    def of_split(self, split: str) -> list[ModelFile]:
        return [file for file in self if file.split == split]


class ModelFolder(ReadOnly[Models]):
    """Models to learn from: the GLBs of a folder, or those that its ``models.csv`` names; none where ``path`` is null.

    The table's columns: ``file``, the path within the folder; and, where they say something, ``caption``, ``split``
    (train or validation), ``front`` and ``up`` (axes of the file: +z and +y, as glTF has them). Else the caption is
    the file's name, and every fifth file or so is kept aside for validation, by its name.

    Raises SetupError where there is no such folder or no model in it, and for a table that cannot be what was meant.
    """

    WHAT = "The folder of models"

    def __init__(self, *, path: str | None, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=path or "", metadata=metadata)
        self._named = bool(path)

    def load(self) -> Models:
        if not self._named:
            return Models()
        if not self.path.is_dir():
            raise SetupError(f"The folder of models {self.path} does not exist; set it by --params=models=FOLDER.")
        table = table_in(self.path, NAME)
        files = list(_named(table) if table else _found(self.path))
        if not files:
            raise SetupError(f"There is no model (*{SUFFIX}) in {table or self.path}.")
        names = [file.name for file in files]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise SetupError(f"Several models in {self.path} have one name ({some(twice, len(twice))}): rename them.")
        return Models(files)


def caption_of(name: str) -> str:
    """What a file's name says of its model: ``kk_jar-02_b`` is a "kk jar"; all of it, where no word is in it."""
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", name) if len(word) > 1]
    return " ".join(words) or name


def split_of(name: str) -> str:
    """The same for a name in every folder, so that a model that comes or goes moves no other."""
    return "validation" if zlib.crc32(name.encode(errors="surrogateescape")) % KEPT_ASIDE == 0 else "train"


def _found(folder: Path) -> Iterator[ModelFile]:
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == SUFFIX and not path.name.startswith("."):
            yield ModelFile(path, caption_of(path.stem), split_of(path.stem))


def _named(table: Path) -> Iterator[ModelFile]:
    header, rows = read_cells(table, NEEDED)
    places = places_of(table, header, NEEDED, OTHERS)
    for line, cells in rows:
        said = {name: cells[place] for name, place in places.items() if place < len(cells) and cells[place]}
        if "file" not in said:
            raise SetupError(f"{table}, line {line}: the cell of the column file is empty.")
        path = table.parent / said["file"]
        front, up = _axis(said.get("front", FRONT)), _axis(said.get("up", UP))
        split = said.get("split", split_of(path.stem)).lower()
        if split not in SPLITS:
            raise SetupError(f"{table}, line {line}: the split is {split!r}, and may be {' or '.join(SPLITS)}.")
        if front not in AXES or up not in AXES or front[1] == up[1]:
            raise SetupError(
                f"{table}, line {line}: front is {front!r} and up is {up!r}; they are two of {', '.join(AXES)} at a "
                "right angle."
            )
        yield ModelFile(path, said.get("caption", caption_of(path.stem)), split, front, up)


def _axis(text: str) -> str:
    """``Z`` is +z: a spreadsheet takes a plus for a formula's beginning."""
    return text.lower() if text[0] in "+-" else f"+{text.lower()}"
