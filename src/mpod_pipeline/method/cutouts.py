"""The photos of one product, cut out: what each shows, and where its camera stood. All later steps work from them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.cutout.matting import bounding_box
from mpod_pipeline.cutout.photo_file import FRONT
from mpod_pipeline.priors.latents import resize
from mpod_pipeline.rendering.cameras import Cameras

Angles = TypeVar("Angles", float, NDArray[np.float32], Tensor)


def turn_deg(azimuth_deg: Angles, from_deg: float) -> Angles:
    """How far azimuths are turned from another, either way, in [0, 180]."""
    return abs((azimuth_deg - from_deg + 180) % 360 - 180)


@dataclass(frozen=True)
class Cutout:
    """One photo's product, cut out.

    picture: RGBA [S, S, 4] uint8, straight alpha, in the frame of a camera that stands at these degrees. Of the front
    the azimuth is 0, and the frame is the world's.
    """

    picture: NDArray[np.uint8]
    elevation_deg: float
    azimuth_deg: float = 0.0
    name: str = FRONT

    @property
    def camera(self) -> Cameras:
        return Cameras.at(self.azimuth_deg, self.elevation_deg)


@dataclass(frozen=True)
class Cutouts:
    """A product's photos. The first is its own, the front; the product is equally large in all frames."""

    photos: tuple[Cutout, ...]

    @classmethod
    def of(cls, picture: NDArray[np.uint8], elevation_deg: float) -> Cutouts:
        """The cutouts of a product with one photo.

        Args:
            picture: The cutout, [S, S, 4] uint8, straight alpha.
            elevation_deg: How high above the product its camera stood, degrees.

        Example:
            >>> Cutouts.of(np.zeros((8, 8, 4), np.uint8), 10.0).front.name
            'front'
        """
        return cls((Cutout(picture, elevation_deg),))

    @property
    def front(self) -> Cutout:
        return self.photos[0]

    @property
    def others(self) -> tuple[Cutout, ...]:
        return self.photos[1:]

    @property
    def cameras(self) -> Cameras:
        return Cameras.at([p.azimuth_deg for p in self.photos], [p.elevation_deg for p in self.photos])

    def without(self, names: frozenset[str]) -> Cutouts:
        return replace(self, photos=tuple(photo for photo in self.photos if photo.name not in names))


@dataclass(frozen=True)
class Reference:
    """The photo's view at one resolution."""

    picture: Tensor  # [3, R, R] in [0, 1], on white
    mask: Tensor  # [R, R] in [0, 1]


def reference_view(cutout: NDArray[np.uint8], resolution: int) -> Reference:
    """The photo's view at one resolution, on white. It is resampled premultiplied, so it has no halos.

    Args:
        cutout: [S, S, 4] uint8, straight alpha.
        resolution: R, pixels a side.

    Returns:
        The picture [3, R, R] and the mask [R, R], in [0, 1].

    Example:
        >>> solid = np.full((8, 8, 4), 255, np.uint8)
        >>> reference_view(solid, 4).mask.shape
        torch.Size([4, 4])
    """
    rgba = torch.from_numpy(cutout.astype(np.float32) / 255).permute(2, 0, 1)[None]
    premultiplied = torch.cat([rgba[:, :3] * rgba[:, 3:], rgba[:, 3:]], dim=1)
    small = resize(premultiplied, resolution)[0].clamp(0, 1)
    return Reference((small[:3] + 1 - small[3]).clamp(0, 1), small[3])


def extent(picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Height and width of what a cutout [S, S, 4] shows, pixels."""
    top, left, bottom, right = bounding_box(picture[..., 3] >= 128)
    return float(bottom - top), float(right - left)
