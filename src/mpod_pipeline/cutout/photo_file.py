"""A photo as it comes in, before anything is read of it."""

from __future__ import annotations

from dataclasses import dataclass

FRONT = "front"
#: The azimuths of cameras at the other sides, degrees: right and left are so for who looks at the front.
SIDES = {"back": 180.0, "left": 270.0, "right": 90.0}


@dataclass(frozen=True)
class PhotoFile:
    """data: the file's bytes. mask: those of a mask that somebody drew for it. name: of the side that it shows.
    azimuth_deg: of its camera; 0 is the front's, and it grows as the camera moves to its own right.
    """

    data: bytes
    mask: bytes | None = None
    name: str = FRONT
    azimuth_deg: float = 0.0
