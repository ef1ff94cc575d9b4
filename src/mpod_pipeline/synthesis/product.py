"""A procedural product: its solids, materials and caption, and how it stands before the camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis import recipes
from mpod_pipeline.synthesis.draft import Draft
from mpod_pipeline.synthesis.families import FAMILIES
from mpod_pipeline.synthesis.materials import Material
from mpod_pipeline.synthesis.solids import Array, Integers, rotation

#: The object's long side as a fraction of the photo's frame.
FRAME_FRACTION = 0.8
#: What a novel view may fill of the frame; a product that would leave it by more is drawn anew.
FRAME_LIMIT = 1.1
#: A vertex normal further than this from its face's is a crease: the face's own normal shades the corner.
CREASE_COS = np.cos(np.radians(40))


class Subject(Protocol):
    """What stands in the studio: a surface with colours, in product units (z up, front towards +x;
    long side 1, middle at the origin).
    """

    @property
    def caption(self) -> str: ...

    @property
    def vertices(self) -> Array: ...  # [V, 3]

    @property
    def faces(self) -> NDArray[np.int32]: ...  # [F, 3]

    @property
    def corner_normals(self) -> Array: ...  # [F, 3, 3], unit

    def colour(self, face: Integers, weights: Array, points: Array, normals: Array) -> Array:
        """Albedo [N, 3] (sRGB) of faces [N] at barycentrics [N, 3], which are these points and normals [N, 3]."""

    def gloss(self, face: Integers) -> Array:
        """How strongly faces [N] shine, [N]."""


@dataclass(frozen=True)
class Product:
    """Solids merged into one triangle soup of closed parts, in product units (z up, front towards +x)."""

    family: str
    caption: str
    vertices: Array  # [V, 3]
    faces: NDArray[np.int32]  # [F, 3]
    face_part: NDArray[np.int32]  # [F]
    part_centres: Array  # [P, 3]
    part_materials: NDArray[np.int32]  # [P]
    materials: tuple[Material, ...]

    @cached_property
    def corner_normals(self) -> Array:
        """Unit normals [F, 3, 3] per face corner: smooth, except at creases."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        area_normals = np.cross(b - a, c - a)
        vertex_normals = np.zeros_like(self.vertices)
        for k in range(3):
            np.add.at(vertex_normals, self.faces[:, k], area_normals)
        unit = lambda v: v / (np.linalg.norm(v, axis=-1, keepdims=True) + 1e-12)  # noqa: E731
        face_normals, smooth = unit(area_normals), unit(vertex_normals)[self.faces]
        crease = np.einsum("fkc,fc->fk", smooth, face_normals) < CREASE_COS
        return np.where(crease[..., None], face_normals[:, None], smooth).astype(np.float32)

    def colour(self, face: Integers, weights: Array, points: Array, normals: Array) -> Array:
        part = self.face_part[face]
        local = points - self.part_centres[part]
        material = self.part_materials[part]
        colours = np.zeros((len(points), 3), np.float32)
        for m in np.unique(material):
            here = material == m
            colours[here] = self.materials[m].colour(local[here], normals[here])
        return colours

    def gloss(self, face: Integers) -> Array:
        gloss = np.array([material.gloss for material in self.materials], np.float32)
        return gloss[self.part_materials[self.face_part[face]]]


@dataclass(frozen=True)
class Placement:
    """How a product stands in the photo's world: ``world = scale * turn(yaw) * point + offset``."""

    yaw_deg: float
    scale: float
    offset: Array  # [3]

    def apply(self, points: Array) -> Array:
        return (points @ rotation(self.yaw_deg, 2).T * self.scale + self.offset).astype(np.float32)

    def turn(self, normals: Array) -> Array:
        return (normals @ rotation(self.yaw_deg, 2).T).astype(np.float32)


def make_product(family: str, seed: int) -> Product:
    """The product that ``seed`` means in ``family``: always the same one."""
    for attempt in range(100):
        stream = np.random.default_rng([seed, attempt, *family.encode()])
        product = _draw(family, stream)
        if fits(product):
            return product
    raise ValueError(f"no {family} of seed {seed} fits the frame")


def _draw(family: str, rng: np.random.Generator) -> Product:
    draft = Draft(rng)
    noun = FAMILIES[family](draft) if family in FAMILIES else recipes.make(family, draft)
    counts = [len(part.vertices) for part in draft.parts]
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    vertices = np.concatenate([part.vertices for part in draft.parts])
    faces = np.concatenate([part.faces + start for part, start in zip(draft.parts, starts, strict=True)])
    face_part = np.concatenate([np.full(len(part.faces), i) for i, part in enumerate(draft.parts)])
    low, high = vertices.min(0), vertices.max(0)
    unit = (high - low).max()
    vertices = (vertices - (low + high) / 2) / unit
    centres = [(p.vertices.min(0) + p.vertices.max(0)) / 2 for p in draft.parts]
    return Product(
        family,
        " ".join([*draft.words, noun]),
        vertices.astype(np.float32),
        faces.astype(np.int32),
        face_part.astype(np.int32),
        ((np.stack(centres) - (low + high) / 2) / unit).astype(np.float32),
        np.array([part.material for part in draft.parts], np.int32),
        tuple(draft.materials),
    )


def fits(product: Subject) -> bool:
    """Whether the whole product stays in the frame from all round."""
    vertices = place(product, 0.0, 10.0).apply(product.vertices)
    views = [(azimuth, elevation) for azimuth in range(0, 360, 30) for elevation in (-10, 15, 40)]
    cameras = Cameras.at([float(a) for a, _ in views], [float(e) for _, e in views])
    return bool(np.abs(project(cameras, vertices)[..., :2]).max() < FRAME_LIMIT)


def project(cameras: Cameras, points: Array) -> Array:
    """``Cameras.project`` for numpy: [V, 3] -> [B, V, 3]."""
    import torch

    return cameras.project(torch.from_numpy(np.ascontiguousarray(points, np.float32))).numpy()


def place(product: Subject, yaw_deg: float, elevation_deg: float) -> Placement:
    """Stand the product so that its photo from ``elevation_deg`` is centred, long side at 80% of the frame."""
    camera = Cameras.at(0.0, elevation_deg)
    _, right, up, _ = (axis[0].numpy() for axis in camera.basis)
    scale, offset = 1.0, np.zeros(3, np.float32)
    for _ in range(8):  # a fixed point: perspective makes the two steps depend on each other, mildly
        ndc = project(camera, Placement(yaw_deg, scale, offset).apply(product.vertices))[0]
        low, high = ndc[:, :2].min(0), ndc[:, :2].max(0)
        centre = (low + high) / 2 * camera.half_frame * camera.distance
        scale *= 2 * FRAME_FRACTION / float((high - low).max())
        offset = (offset - centre[0] * right - centre[1] * up).astype(np.float32)
    return Placement(yaw_deg, scale, offset)
