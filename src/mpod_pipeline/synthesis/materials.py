"""Solid textures: colour as a function of the point on the surface, so nothing needs UVs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Array = NDArray[np.float32]

#: Colours by name, sRGB. Captions name these; each use is jittered a little.
PALETTE: dict[str, tuple[float, float, float]] = {
    "white": (0.93, 0.93, 0.91),
    "black": (0.08, 0.08, 0.09),
    "grey": (0.50, 0.51, 0.53),
    "red": (0.78, 0.12, 0.12),
    "orange": (0.92, 0.50, 0.12),
    "yellow": (0.93, 0.80, 0.22),
    "green": (0.18, 0.52, 0.25),
    "mint": (0.58, 0.84, 0.70),
    "teal": (0.10, 0.50, 0.52),
    "blue": (0.14, 0.30, 0.70),
    "sky blue": (0.50, 0.74, 0.92),
    "navy": (0.09, 0.13, 0.32),
    "purple": (0.44, 0.22, 0.60),
    "pink": (0.92, 0.58, 0.68),
    "brown": (0.42, 0.26, 0.15),
    "beige": (0.84, 0.75, 0.61),
    "cream": (0.94, 0.89, 0.77),
    "terracotta": (0.74, 0.39, 0.26),
    "olive": (0.44, 0.46, 0.20),
    "silver": (0.72, 0.74, 0.76),
    "gold": (0.80, 0.62, 0.26),
}

#: Patterns that captions name, and what they call them.
PATTERNS: dict[str, str] = {
    "plain": "",
    "bands": "striped",
    "stripes": "vertically striped",
    "diagonal": "diagonally striped",
    "checks": "checked",
    "dots": "dotted",
    "speckle": "speckled",
    "gradient": "two-colour gradient",
    "two_tone": "two-tone",
    "marble": "marbled",
    "wood": "wooden",
    "fabric": "fabric",
}


def value_noise(points: Array, seed: int) -> Array:
    """Smooth noise in [0, 1] at points [N, 3], one cell per unit."""
    cell = np.floor(points).astype(np.int64)
    f = points - cell
    f = f * f * (3 - 2 * f)
    total = np.zeros(len(points), dtype=np.float32)
    for corner in range(8):
        step = np.array([corner & 1, corner >> 1 & 1, corner >> 2 & 1])
        weight = np.prod(np.where(step, f, 1 - f), axis=1)
        total += (weight * hash_noise(cell + step, seed)).astype(np.float32)
    return total


def hash_noise(cells: NDArray[np.int64], seed: int) -> Array:
    """White noise in [0, 1) per integer cell [N, 3]."""
    h = cells[:, 0] * 73856093 ^ cells[:, 1] * 19349663 ^ cells[:, 2] * 83492791 ^ (seed * 2654435761)
    h = (h ^ (h >> 13)) * 1274126177 & 0x7FFFFFFF
    h = (h ^ (h >> 15)) * 1911520717 & 0x7FFFFFFF
    return ((h ^ (h >> 14)) & 0xFFFFFF).astype(np.float32) / float(1 << 24)


@dataclass(frozen=True)
class Decal:
    """A flat picture stuck on the front (+x) of a part, read from azimuth 0."""

    picture: NDArray[np.uint8]  # [H, W, 4]
    centre: tuple[float, float]  # (y, z) in the part's pattern coordinates
    size: tuple[float, float]

    def over(self, colour: Array, points: Array, normals: Array) -> Array:
        """Lay the picture over colour [N, 3] at pattern points [N, 3] whose normal faces the front."""
        height, width = self.picture.shape[:2]
        u = (points[:, 1] - self.centre[0]) / self.size[0] + 0.5
        v = 0.5 - (points[:, 2] - self.centre[1]) / self.size[1]
        inside = (u >= 0) & (u < 1) & (v >= 0) & (v < 1) & (normals[:, 0] > 0.25)
        texel = self.picture[(v[inside] * height).astype(int), (u[inside] * width).astype(int)].astype(np.float32) / 255
        colour = colour.copy()
        colour[inside] += (texel[:, :3] - colour[inside]) * texel[:, 3:]
        return colour


@dataclass(frozen=True)
class Material:
    """A pattern of two colours. ``scale``: pattern periods per product unit; ``round``: wrap round the z axis."""

    first: tuple[float, float, float]
    second: tuple[float, float, float]
    pattern: str = "plain"
    scale: float = 6.0
    duty: float = 0.5
    phase: float = 0.0
    round: bool = False
    gloss: float = 0.1
    seed: int = 0
    decals: tuple[Decal, ...] = ()

    def colour(self, points: Array, normals: Array) -> Array:
        """sRGB albedo [N, 3] at pattern points [N, 3] (relative to the part's centre) with normals [N, 3]."""
        mix = self._mix(points)[:, None]
        colour = np.asarray(self.first, np.float32) * (1 - mix) + np.asarray(self.second, np.float32) * mix
        for decal in self.decals:
            colour = decal.over(colour, points, normals)
        return np.clip(colour, 0, 1).astype(np.float32)

    def _across(self, points: Array) -> Array:
        """The horizontal pattern coordinate: round the axis or along y (and x, so that sides are patterned too)."""
        if self.round:
            turns = max(2, round(self.scale * 1.6))
            return (np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi) * turns).astype(np.float32)
        return ((points[:, 1] + points[:, 0]) * self.scale).astype(np.float32)

    def _mix(self, points: Array) -> Array:
        """How much of the second colour, in [0, 1], at points [N, 3]."""
        p = points * self.scale
        up = p[:, 2] + self.phase
        match self.pattern:
            case "plain":
                return value_noise(p * 0.7, self.seed) * 0.06
            case "bands":
                return (up % 1 < self.duty).astype(np.float32)
            case "stripes":
                return ((self._across(points) + self.phase) % 1 < self.duty).astype(np.float32)
            case "diagonal":
                return ((self._across(points) + up) % 1 < self.duty).astype(np.float32)
            case "checks":
                return ((np.floor(self._across(points) * 2) + np.floor(up * 2)) % 2).astype(np.float32)
            case "dots":
                across = self._across(points) + 0.5 * (np.floor(up) % 2)
                du, dv = across % 1 - 0.5, up % 1 - 0.5
                return (du * du + dv * dv < 0.3**2 * self.duty * 2).astype(np.float32)
            case "speckle":
                return (hash_noise(np.floor(p * 7).astype(np.int64), self.seed) < 0.22 * self.duty).astype(np.float32)
            case "gradient":
                return np.clip(points[:, 2] * 1.4 + 0.5 + self.phase * 0.2, 0, 1).astype(np.float32)
            case "two_tone":
                return (points[:, 2] < (self.phase - 0.5) * 0.4).astype(np.float32)
            case "marble":
                vein = np.sin(4 * (p[:, 0] * 0.5 + p[:, 2]) + 7 * value_noise(p * 0.6, self.seed))
                return (np.clip(vein, 0, 1) ** 3).astype(np.float32)
            case "wood":
                grain = value_noise(p * np.array([1.0, 0.35, 3.0], np.float32), self.seed)
                return (0.5 + 0.5 * np.sin(18 * grain)).astype(np.float32) * 0.6
            case "fabric":
                weave = np.sin(points[:, 2] * 190) * np.sin((points[:, 0] + points[:, 1]) * 190)
                return (0.25 + 0.2 * weave + 0.25 * value_noise(p * 0.8, self.seed)).astype(np.float32)
        raise ValueError(f"unknown pattern {self.pattern!r}")


def jittered(name: str, rng: np.random.Generator, amount: float = 0.05) -> tuple[float, float, float]:
    """The palette's colour ``name``, a little off."""
    colour = np.clip(np.asarray(PALETTE[name]) + rng.normal(0, amount, 3), 0.03, 0.97)
    return (float(colour[0]), float(colour[1]), float(colour[2]))


def label_picture(
    text: str, rng: np.random.Generator, paper: tuple[float, float, float], ink: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """A label [H, W, 4] with text and a simple logo."""
    width, height = 192, 128
    as_bytes = lambda colour: tuple(int(255 * c) for c in colour)  # noqa: E731
    picture = Image.new("RGBA", (width, height), (*as_bytes(paper), 255))
    draw = ImageDraw.Draw(picture)
    if rng.random() < 0.5:
        draw.rectangle((4, 4, width - 5, height - 5), outline=(*as_bytes(ink), 255), width=4)
    font = ImageFont.load_default(size=float(rng.integers(38, 56)))
    box = draw.textbbox((0, 0), text, font=font)
    draw.text(((width - box[2]) / 2, height * 0.52), text, font=font, fill=(*as_bytes(ink), 255))
    cx, cy, r = width / 2, height * 0.30, height * 0.17
    shape = rng.integers(3)
    if shape == 0:
        draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=(*as_bytes(ink), 255))
    elif shape == 1:
        draw.polygon([(cx - r, cy + r), (cx + r, cy + r), (cx, cy - r)], fill=(*as_bytes(ink), 255))
    else:
        draw.rectangle((cx - 2 * r, cy - r / 2, cx + 2 * r, cy + r / 2), fill=(*as_bytes(ink), 255))
    return np.asarray(picture)
