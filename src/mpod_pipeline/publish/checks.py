"""The gate: what a target asks of a file, and what is told of a file that lacks it.

The rules are those of the shops, and of Khronos' glTF Asset Auditor (KhronosGroup/gltf-asset-auditor): size, triangles,
materials, textures of powers of two, a base colour as real things have it, UVs that do not overlap, islands apart, a
closed surface, the product's true dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from mpod_pipeline.base.text import number_of
from mpod_pipeline.geometry.mesh import Mesh, face_components
from mpod_pipeline.publish.contents import BASE_COLOUR, Contents
from mpod_pipeline.publish.settings import TargetSettings
from mpod_pipeline.rendering.rasterize import rasterize_numpy

#: Texels a side, at least.
SMALLEST_TEXTURE = 512
#: The auditor's range of luminosity (Rec. 709, of 255): coal and chalk are within it.
DARKEST, LIGHTEST = 30.0, 243.0
#: Percent of the texture that islands may share: less is the raster's own error.
SHARED_PERCENT = 0.5
#: So far UVs may lie outside of the texture, as files round them.
ROUNDING = 1e-3
#: Pictures that every viewer reads; a target for browsers may have WebP, too.
FORMATS = ("JPEG", "PNG")


@dataclass(frozen=True)
class Layout:
    """How a surface lies in its texture of ``size`` texels a side."""

    contents: Contents
    size: int

    @cached_property
    def face(self) -> NDArray[np.int32]:
        """The face that each texel shows, -1 for none: [T, T], row 0 on top."""
        flat = np.column_stack([self.contents.uvs * [2, -2] + [-1, 1], np.ones(len(self.contents.uvs))])
        face, _, _ = rasterize_numpy(flat.astype(np.float32), self.contents.faces, self.size, self.size)
        return face

    @property
    def shared_percent(self) -> float:
        """How much of the surface's room in the texture it has twice."""
        a, b, c = self.contents.uvs[self.contents.faces].astype(np.float64).transpose(1, 0, 2)
        one, other = b - a, c - a
        areas = np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]).sum() / 2
        return float(100 * (1 - (self.face >= 0).sum() / self.size**2 / areas)) if areas else 0.0

    @property
    def gutter(self) -> float:
        """The fewest texels between two islands; infinite where there is one."""
        _, part = face_components(Mesh(torch.from_numpy(self.contents.uvs), torch.from_numpy(self.contents.faces)))
        island = np.where(self.face >= 0, part.numpy()[self.face], -1)
        apart, nearest = distance_transform_edt(island < 0, return_indices=True)
        owner = island[tuple(nearest)]
        gaps = [
            (first_apart + second_apart)[first != second]
            for first, second, first_apart, second_apart in (
                (owner[:-1], owner[1:], apart[:-1], apart[1:]),
                (owner[:, :-1], owner[:, 1:], apart[:, :-1], apart[:, 1:]),
            )
        ]
        return float(np.concatenate(gaps).min(initial=np.inf))


@dataclass(frozen=True)
class Examined:
    """A file at the gate. target: its name."""

    target: str
    contents: Contents
    settings: TargetSettings
    formats: tuple[str, ...] = FORMATS

    @cached_property
    def layout(self) -> Layout:
        texture = self.contents.texture(BASE_COLOUR)
        return Layout(self.contents, texture.width if texture else SMALLEST_TEXTURE)


def size(file: Examined) -> str:
    most, found = file.settings.megabytes, file.contents.size / 1e6
    if most is None or found <= most:
        return ""
    return f"The file has {found:.2f} MB; {file.target} takes at most {most:g}."


def triangles(file: Examined) -> str:
    most, found = file.settings.triangles, len(file.contents.faces)
    return f"The model has {found:,} triangles; {file.target} takes at most {most:,}." if found > most else ""


def materials(file: Examined) -> str:
    most, found = file.settings.materials, file.contents.materials
    if 1 <= found <= most:
        return ""
    return f"The model has {number_of(found, 'material')}; {file.target} wants one{f' to {most}' if most > 1 else ''}."


def textures(file: Examined) -> str:
    if file.contents.texture(BASE_COLOUR) is None:
        return "The model has no texture with its colours."
    most = file.settings.texture_size
    for texture in file.contents.textures:
        sides = (texture.width, texture.height)
        shown = f"The texture of its {texture.role} has {texture.width} x {texture.height} pixels"
        if any(side & (side - 1) for side in sides):
            return f"{shown}; each side must be a power of two, such as 1024."
        if min(sides) < min(SMALLEST_TEXTURE, most):
            return f"{shown}; fewer than {SMALLEST_TEXTURE} look blurred."
        if max(sides) > most:
            return f"{shown}; {file.target} takes at most {most}."
        if texture.format not in file.formats:
            return f"The texture of its {texture.role} is a {texture.format}; {file.target} takes {_or(file.formats)}."
    return ""


def dimensions(file: Examined) -> str:
    """Those that the catalog tells."""
    width, height, depth = (100 * side for side in file.contents.dimensions_m)
    told = file.settings
    pairs = {"width": (width, told.width_cm), "height": (height, told.height_cm), "depth": (depth, told.depth_cm)}
    if told.long_side_m and not any(told.told_cm):  # which count for more
        pairs["long side"] = max(width, height, depth), 100 * told.long_side_m
    for name, (found, right) in pairs.items():
        if right is not None and abs(found / right - 1) * 100 > told.dimension_tolerance_percent:
            return (
                f"Its {name} is {found:.1f} cm, and products.csv says {right:.1f} cm: "
                f"{abs(found / right - 1):.0%} off, and {told.dimension_tolerance_percent:g}% are allowed."
            )
    return ""


def base_colour(file: Examined) -> str:
    texture = file.contents.texture(BASE_COLOUR)
    seen = file.layout.face >= 0
    if texture is None or texture.width != texture.height or not seen.any():
        return ""
    luminosity = texture.pixels()[seen] @ np.array([0.2126, 0.7152, 0.0722])
    outside = {"darker": luminosity < DARKEST, "lighter": luminosity > LIGHTEST}
    if 100 * sum(part.mean() for part in outside.values()) <= file.settings.too_dark_or_light_percent:
        return ""
    how = max(outside, key=lambda name: outside[name].mean())
    return f"{outside[how].mean():.0%} of its surface are {how} than real things are: was the photo so?"


def uv_overlap(file: Examined) -> str:
    uvs = file.contents.uvs
    if uvs.min() < -ROUNDING or uvs.max() > 1 + ROUNDING:
        return "Its texture is laid out beyond the picture's edge."
    shared = file.layout.shared_percent
    return f"Parts of its surface share {shared:.1f}% of the texture." if shared > SHARED_PERCENT else ""


def gutter(file: Examined) -> str:
    if file.contents.texture(BASE_COLOUR) is None:
        return ""
    least, found = file.settings.gutter_texels, file.layout.gutter
    if found >= least:
        return ""
    return f"Islands of its texture are {found:.1f} texels apart; nearer than {least:g}, colours bleed across."


def manifold(file: Examined) -> str:
    if not file.settings.closed:
        return ""
    positions, whole = np.unique(file.contents.positions, axis=0, return_inverse=True)
    faces = whole.reshape(-1)[file.contents.faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]  # what rounding has made a line of
    count = Mesh(torch.from_numpy(positions), torch.from_numpy(faces)).topology.count
    holes, joints = int((count == 1).sum()), int((count > 2).sum())
    if holes:
        return f"The surface is open along {number_of(holes, 'edge')}."
    return f"More than two faces meet at {number_of(joints, 'edge')} of the surface." if joints else ""


#: In the order in which they are told.
CHECKS: tuple[Callable[[Examined], str], ...] = (
    size,
    triangles,
    materials,
    textures,
    dimensions,
    base_colour,
    uv_overlap,
    gutter,
    manifold,
)


def what_is_wrong(file: Examined) -> list[str]:
    """Examine a target's file.

    Args:
        file: What it holds, and what the target takes.

    Returns:
        A sentence for each check that the file does not pass; empty if it passes all.
    """
    return [told for check in CHECKS if (told := check(file))]


def _or(names: tuple[str, ...]) -> str:
    return " or ".join(names)
