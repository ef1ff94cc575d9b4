"""Photos, and those of a product's other sides: whose they are and which, by their files' names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.files import read_bounded
from mpod_pipeline.base.text import readable, some
from mpod_pipeline.cutout.photo_file import FRONT, SIDES, PhotoFile

#: More than 100 megapixels of 16 bits take in most files.
MAX_BYTES = 500_000_000
#: What follows a photo's name, in that of a mask that somebody drew for it.
MASK = ".mask.png"
#: What may be meant for a side, and is none.
NEARLY = re.compile(
    r"^(?P<product>.+)(?P<joint>[ ._-])(?P<word>front|back|left|right|rear|behind|side)$", re.IGNORECASE
)
MEANT = {"rear": "back", "behind": "back", "side": "left or right"}


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
class FurtherPhoto:
    """A photo of another side. name: of the side, as in the file's name or the table. azimuth_deg: of its camera."""

    name: str
    azimuth_deg: float
    photo: Photo

    @property
    def mask(self) -> Path:
        """Where somebody may have drawn its mask."""
        return self.photo.path.with_name(self.photo.path.stem + MASK)


@dataclass(frozen=True)
class Sides:
    """The further photos of one product. Calling it reads the files; ProductError if that cannot be done."""

    photos: tuple[FurtherPhoto, ...] = ()

    @property
    def paths(self) -> dict[str, Path]:
        """All files, by what they are."""
        paths = {f"{each.name} at {each.azimuth_deg:g}": each.photo.path for each in self.photos}
        return paths | {f"mask of {each.name}": each.mask for each in self.photos if each.mask.is_file()}

    def __call__(self) -> list[PhotoFile]:
        return [
            PhotoFile(each.photo(), Photo(each.mask)() if each.mask.is_file() else None, each.name, each.azimuth_deg)
            for each in self.photos
        ]


NO_SIDES = Sides()


def side_of(stem: str) -> tuple[str, str]:
    """The product's id and the side that a photo's name without its suffix says; the front where it says none."""
    product, _, word = stem.rpartition(".")
    if product and word.lower() in (FRONT, *SIDES):
        return product, word.lower()
    return stem, FRONT


def by_product(photos: Iterable[Path]) -> dict[str, dict[str, list[Path]]]:
    """Photos by product and side, in their order."""
    found: dict[str, dict[str, list[Path]]] = {}
    for path in photos:
        product, side = side_of(path.stem)
        found.setdefault(product, {}).setdefault(side, []).append(path)
    return found


def sides_of(photos: Mapping[str, Sequence[Path]]) -> tuple[Sides, str]:
    """The further ones of one product's photos by side, and a sentence where two are of one side."""
    twice = [path.name for side in SIDES for path in photos.get(side, ()) if len(photos[side]) > 1]
    if twice:
        return Sides(), f"Two photos are of the same side ({some(twice, len(twice))}); please keep one of them."
    named = [(side, azimuth) for side, azimuth in SIDES.items() if photos.get(side)]
    return Sides(tuple(FurtherPhoto(side, azimuth, Photo(photos[side][0])) for side, azimuth in named)), ""


def nearly_sides(products: Mapping[str, object], photos: Iterable[Path]) -> Iterator[str]:
    """Sentences on photos that are products of their own, and whose names nearly say that they are another's."""
    for path in photos:
        near = NEARLY.match(path.stem)
        if near and path.stem in products and near["product"] in products:
            side = MEANT.get(near["word"].lower(), near["word"].lower())
            wanted = f"{near['product']}.{side.split()[0]}{path.suffix}"
            yield f"{path.name} is a product of its own; if it shows the {side} of {near['product']}, name it {wanted}."
