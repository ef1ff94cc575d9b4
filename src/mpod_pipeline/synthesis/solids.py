"""Closed, outward-oriented solids from which products are put together.

Everything is a loft: a stack of rings closed by a fan at either end. Lengths are in product units (a product is about
one unit long), +z up, front towards +x.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float32]
Integers = NDArray[np.signedinteger]


@dataclass(frozen=True)
class Part:
    """One closed solid of one material."""

    vertices: Array  # [V, 3]
    faces: NDArray[np.int32]  # [F, 3], counter-clockwise seen from outside
    material: int

    def moved(self, offset: ArrayLike) -> Part:
        return replace(self, vertices=(self.vertices + np.asarray(offset)).astype(np.float32))

    def scaled(self, factors: ArrayLike) -> Part:
        """Scale about the origin; positive factors only, so the orientation stays."""
        return replace(self, vertices=(self.vertices * np.asarray(factors)).astype(np.float32))

    def turned(self, degrees: float, axis: int = 2) -> Part:
        """Turn about a coordinate axis through the origin, counter-clockwise."""
        return replace(self, vertices=(self.vertices @ rotation(degrees, axis).T).astype(np.float32))

    def mirrored(self, axis: int) -> Part:
        """Mirror at the plane through the origin across a coordinate axis."""
        factors = np.ones(3, np.float32)
        factors[axis] = -1
        return replace(self, vertices=self.vertices * factors, faces=np.ascontiguousarray(self.faces[:, ::-1]))


def rotation(degrees: float, axis: int) -> Array:
    """Rotation matrix [3, 3] about coordinate axis 0, 1 or 2."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3, dtype=np.float32)
    i, j = (axis + 1) % 3, (axis + 2) % 3
    matrix[i, i], matrix[i, j], matrix[j, i], matrix[j, j] = c, -s, s, c
    return matrix


def signed_volume(vertices: Array, faces: NDArray[np.int32]) -> float:
    """Volume inside a closed mesh; negative where its faces point inwards."""
    a, b, c = (vertices[faces[:, k]].astype(np.float64) for k in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def loft(rings: ArrayLike, material: int, start: ArrayLike | None = None, end: ArrayLike | None = None) -> Part:
    """The solid through rings [N, M, 3], closed by fans to ``start`` and ``end`` (else the end rings' centres)."""
    rings = np.asarray(rings, dtype=np.float32)
    n, m, _ = rings.shape
    start = rings[0].mean(0) if start is None else np.asarray(start, dtype=np.float32)
    end = rings[-1].mean(0) if end is None else np.asarray(end, dtype=np.float32)
    vertices = np.concatenate([rings.reshape(-1, 3), start[None], end[None]]).astype(np.float32)

    i, j = np.meshgrid(np.arange(n - 1), np.arange(m), indexing="ij")
    here, right = i * m + j, i * m + (j + 1) % m
    halves = [here, right, right + m], [here, right + m, here + m]
    sides = np.concatenate([np.stack(half, -1).reshape(-1, 3) for half in halves])
    k = np.arange(m)
    bottom = np.stack([(k + 1) % m, k, np.full(m, n * m)], -1)
    top = np.stack([(n - 1) * m + k, (n - 1) * m + (k + 1) % m, np.full(m, n * m + 1)], -1)
    faces = np.concatenate([sides, bottom, top]).astype(np.int32)
    if signed_volume(vertices, faces) < 0:
        faces = np.ascontiguousarray(faces[:, ::-1])
    return Part(vertices, faces, material)


def circle(m: int) -> Array:
    """Unit circle [M, 2], counter-clockwise."""
    t = np.linspace(0, 2 * np.pi, m, endpoint=False)
    return np.stack([np.cos(t), np.sin(t)], -1).astype(np.float32)


def superellipse(m: int, exponent: float) -> Array:
    """|x|^e + |y|^e = 1 as [M, 2]: a circle at 2, towards a square above."""
    c = circle(m)
    return (np.sign(c) * np.abs(c) ** (2 / exponent)).astype(np.float32)


def lathe(profile: ArrayLike, material: int, segments: int = 48, refine: int = 3) -> Part:
    """Turn a profile [(radius, z), ...] about the z axis. A first or last radius of zero makes a tip."""
    profile = np.asarray(profile, dtype=np.float32)
    if refine > 1:  # more rings between the given ones, so that shading is smooth along the profile
        t = np.linspace(0, len(profile) - 1, (len(profile) - 1) * refine + 1)
        profile = np.stack([np.interp(t, np.arange(len(profile)), profile[:, k]) for k in range(2)], -1)
    start = (0, 0, profile[0, 1])
    end = (0, 0, profile[-1, 1])
    body = profile[1 if profile[0, 0] < 1e-6 else 0 : -1 if profile[-1, 0] < 1e-6 else None]
    c = circle(segments)
    rings = np.stack([np.concatenate([c * r, np.full((segments, 1), z)], -1) for r, z in body])
    return loft(rings, material, start, end)


def smooth_profile(points: ArrayLike, samples: int = 32) -> Array:
    """A smooth curve [samples, D] through points [N, D] (Catmull-Rom by arc length)."""
    from scipy.interpolate import PchipInterpolator

    points = np.asarray(points, dtype=np.float64)
    t = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1) + 1e-9)])
    return PchipInterpolator(t, points)(np.linspace(0, t[-1], samples)).astype(np.float32)


def cylinder(radius: float, height: float, material: int, bevel: float = 0.0, top_radius: float | None = None) -> Part:
    """Standing on z = 0. ``top_radius`` makes a cone's frustum."""
    top = radius if top_radius is None else top_radius
    b = min(bevel, 0.49 * height, 0.9 * radius, 0.9 * max(top, 1e-3))
    profile = [(radius, 0), (top, height)]
    if b > 0:
        profile = [(radius - b, 0), (radius, b), (top, height - b), (top - b, height)]
    return lathe(profile, material, refine=2)


def rounded_box(size: Sequence[float], material: int, radius: float = 0.02, corner: int = 4) -> Part:
    """Box of (x, y, z) size with rounded edges, standing on z = 0, centred in x and y."""
    sx, sy, sz = size
    r = float(min(radius, 0.49 * min(size)))
    quarter = np.linspace(0, np.pi / 2, corner + 1)

    def outline(inset: float) -> Array:
        rr = max(r - inset, 1e-4)
        points = []
        for k, (sgx, sgy) in enumerate([(1, 1), (-1, 1), (-1, -1), (1, -1)]):
            angle = quarter + k * np.pi / 2
            x, y = sgx * (sx / 2 - r) + rr * np.cos(angle), sgy * (sy / 2 - r) + rr * np.sin(angle)
            points.append(np.stack([x, y], -1))
        return np.concatenate(points).astype(np.float32)

    rings = []
    for angle in quarter:
        flat = outline(r * (1 - np.sin(angle)))
        rings.append(np.concatenate([flat, np.full((len(flat), 1), r * (1 - np.cos(angle)))], -1))
    for angle in quarter[::-1]:
        flat = outline(r * (1 - np.sin(angle)))
        rings.append(np.concatenate([flat, np.full((len(flat), 1), sz - r * (1 - np.cos(angle)))], -1))
    return loft(np.stack(rings), material)


def ellipsoid(radii: Sequence[float], material: int, exponent: float = 2.0, segments: int = 32) -> Part:
    """Ellipsoid (or superellipsoid) about the origin."""
    polar = np.linspace(-np.pi / 2, np.pi / 2, segments // 2 + 1)[1:-1]
    outline = superellipse(segments, exponent)
    rings = []
    for p in polar:
        r = np.abs(np.cos(p)) ** (2 / exponent)
        z = np.sign(np.sin(p)) * np.abs(np.sin(p)) ** (2 / exponent)
        rings.append(np.concatenate([outline * r, np.full((segments, 1), z)], -1))
    part = loft(np.stack(rings), material, (0, 0, -1), (0, 0, 1))
    return part.scaled(radii)


def tube(path: ArrayLike, radius: float | ArrayLike, material: int, segments: int = 14, flat: float = 1.0) -> Part:
    """Sweep a circle along path [N, 3]. ``radius`` per point or one; ``flat`` squeezes it across the path's plane."""
    path = np.asarray(path, dtype=np.float64)
    radii = np.broadcast_to(np.asarray(radius, dtype=np.float64), (len(path),))
    tangents = np.gradient(path, axis=0)
    tangents /= np.linalg.norm(tangents, axis=1, keepdims=True) + 1e-12
    normal = np.cross(tangents[0], [0.0, 0.0, 1.0])
    if np.linalg.norm(normal) < 1e-3:
        normal = np.cross(tangents[0], [1.0, 0.0, 0.0])
    c = circle(segments)
    rings = []
    for point, tangent, r in zip(path, tangents, radii, strict=True):
        normal = normal - tangent * (normal @ tangent)  # parallel transport: no twist along the path
        normal /= np.linalg.norm(normal)
        binormal = np.cross(tangent, normal)
        rings.append(point + r * (c[:, :1] * normal * flat + c[:, 1:] * binormal))
    return loft(np.stack(rings), material)


def arc(
    centre: Sequence[float], radii: Sequence[float], start_deg: float, end_deg: float, plane: str, n: int = 20
) -> Array:
    """Points [n, 3] of an ellipse's arc in plane "yz", "xz" or "xy"; angles from the first axis to the second."""
    t = np.radians(np.linspace(start_deg, end_deg, n))
    points = np.tile(np.asarray(centre, dtype=np.float32), (n, 1))
    a, b = ("xyz".index(letter) for letter in plane)
    points[:, a] += radii[0] * np.cos(t)
    points[:, b] += radii[1] * np.sin(t)
    return points


def extrude(outline: ArrayLike, height: float, material: int, bevel: float = 0.0) -> Part:
    """Raise an outline [M, 2] in the xy plane (star-shaped about its mean) from z = 0 to ``height``."""
    outline = np.asarray(outline, dtype=np.float32)
    centre = outline.mean(0)
    span = float(np.ptp(outline, axis=0).max())
    inner = centre + (outline - centre) * (1 - 2 * bevel / max(span, 1e-6))
    levels = [(outline, 0.0), (outline, height)]
    if bevel:
        levels = [(inner, 0.0), (outline, bevel), (outline, height - bevel), (inner, height)]
    rings = [np.concatenate([flat, np.full((len(flat), 1), z)], -1) for flat, z in levels]
    return loft(np.stack(rings), material)
