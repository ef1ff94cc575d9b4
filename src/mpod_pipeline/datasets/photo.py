"""One photo of the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.files import read_bounded
from mpod_pipeline.base.text import readable

#: More than 100 megapixels of 16 bits take in most files.
MAX_BYTES = 500_000_000
#: What follows a photo's name, in that of a mask that somebody drew for it.
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
