"""The photographer's studio: soft light that stands still while the camera goes round the product."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize_numpy
from mpod_pipeline.synthesis.product import Placement, Subject, project
from mpod_pipeline.synthesis.solids import Array, Integers


@dataclass(frozen=True)
class Light:
    """A key and a weaker back light over an even sky; directions towards the lights, in the world."""

    key: tuple[float, float, float] = (0.55, -0.35, 0.75)
    back: tuple[float, float, float] = (-0.6, 0.4, 0.5)
    sky: float = 0.70
    key_strength: float = 0.36
    back_strength: float = 0.16

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> Light:
        """A studio a little different from others."""
        key = np.array([0.55, 0.0, 0.75]) + rng.normal(0, 0.22, 3)
        return cls((float(key[0]), float(key[1]), float(key[2])), sky=float(rng.uniform(0.64, 0.74)))


def ambient_occlusion(product: Subject, directions: int = 40, resolution: int = 96) -> Array:
    """How much of the sky each vertex sees, [V] in [0, 1]: shadow maps from all round."""
    index = np.arange(directions) + 0.5
    z = 1 - 2 * index / directions * 0.8  # the floor's light counts less: the lowest fifth of the sphere is left out
    angle = index * np.pi * (1 + 5**0.5)
    sky = np.stack([np.sqrt(1 - z * z) * np.cos(angle), np.sqrt(1 - z * z) * np.sin(angle), z], -1)
    seen = np.zeros(len(product.vertices))
    normals = np.zeros_like(product.vertices)
    np.add.at(normals, product.faces.ravel(), product.corner_normals.reshape(-1, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
    lifted = product.vertices + normals * 0.015  # off the surface, so that it does not shade itself
    total = np.zeros(len(product.vertices))
    for towards in sky:
        side = np.cross(towards, [0.0, 0.0, 1.0] if abs(towards[2]) < 0.9 else [1.0, 0.0, 0.0])
        side /= np.linalg.norm(side)
        axes = np.stack([side, np.cross(side, towards), -towards], -1)
        far = np.array([0.0, 0.0, 100.0])  # seen from far away perspective is parallel
        depth_map = rasterize_numpy(product.vertices @ axes + far, product.faces, resolution, resolution)[2]
        x, y, depth = (lifted @ axes + far).T
        column = np.clip(((x + 1) / 2 * resolution).astype(int), 0, resolution - 1)
        row = np.clip(((1 - y) / 2 * resolution).astype(int), 0, resolution - 1)
        nearest = depth_map[row, column]
        weight = np.clip(normals @ towards, 0, 1)
        seen += weight * ((nearest == 0) | (depth <= nearest + 0.02))
        total += weight
    return (0.35 + 0.65 * seen / np.maximum(total, 1e-6)).astype(np.float32)


@dataclass(frozen=True)
class Scene:
    """A product placed and lit, ready to be photographed from anywhere."""

    product: Subject
    placement: Placement
    light: Light
    occlusion: Array  # [V]

    def photograph(self, cameras: Cameras, resolution: int, supersample: int = 2) -> NDArray[np.uint8]:
        """Pictures [B, H, W, 4] with straight alpha, anti-aliased."""
        world = self.placement.apply(self.product.vertices)
        fine = resolution * supersample
        eyes = cameras.basis[0].numpy()
        pictures = []
        for points, eye in zip(project(cameras, world), eyes, strict=True):
            face_index, barycentric, _ = rasterize_numpy(points, self.product.faces, fine, fine)
            covered = face_index >= 0
            picture = np.zeros((fine, fine, 4), np.float32)
            picture[covered, :3] = self._shade(face_index[covered], barycentric[covered], world, eye)
            picture[covered, 3] = 1
            small = picture.reshape(resolution, supersample, resolution, supersample, 4).mean((1, 3))
            small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
            pictures.append((small * 255 + 0.5).astype(np.uint8))
        return np.stack(pictures)

    def depths(self, cameras: Cameras, resolution: int) -> Array:
        """How far the product is along the viewing direction at the pixels' centres [B, H, W]; 0 beside it."""
        world = self.placement.apply(self.product.vertices)
        seen = [
            rasterize_numpy(points, self.product.faces, resolution, resolution) for points in project(cameras, world)
        ]
        return np.stack([depth for _, _, depth in seen])

    def _shade(self, face: Integers, weights: Array, world: Array, eye: Array) -> Array:
        """Colours [N, 3] of surface points given by faces [N] and barycentrics [N, 3]."""
        matt, normals = self._matt(face, weights)
        points = _blend(weights, world[self.product.faces[face]])
        return np.clip(matt + self._highlight(normals, face, points, eye), 0, 1)

    def _matt(self, face: Integers, weights: Array) -> tuple[Array, Array]:
        """Lit colours without highlights, not clipped, and unit normals in the world, each [N, 3]."""
        product = self.product
        corners = product.faces[face]
        normals = _blend(weights, product.corner_normals[face])
        normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12
        albedo = product.colour(face, weights, _blend(weights, product.vertices[corners]), normals)
        facing = self.placement.turn(normals)
        return albedo * self._diffuse(facing, _blend(weights, self.occlusion[corners])[:, None]), facing

    def _diffuse(self, normals: Array, occlusion: Array) -> Array:
        """Light [N, 1] that a matt surface throws back to every side."""
        light = self.light
        key, back = (np.asarray(v) / np.linalg.norm(v) for v in (light.key, light.back))
        diffuse = light.sky * (0.88 + 0.12 * normals[:, 2:]) * occlusion
        diffuse = diffuse + light.key_strength * np.clip(normals @ key, 0, 1)[:, None] * (0.3 + 0.7 * occlusion)
        diffuse = diffuse + light.back_strength * np.clip(normals @ back, 0, 1)[:, None] * occlusion
        return diffuse.astype(np.float32)

    def _highlight(self, normals: Array, face: Integers, points: Array, eye: Array) -> Array:
        """Blinn's highlight of the key light, [N, 1]: it moves with the eye."""
        view, key = eye - points, np.asarray(self.light.key)
        half = view / np.linalg.norm(view, axis=1, keepdims=True) + key / np.linalg.norm(key)
        half /= np.linalg.norm(half, axis=1, keepdims=True)
        cosine = np.clip(np.einsum("nc,nc->n", normals, half), 0, 1)
        return (self.product.gloss(face) * cosine**40)[:, None].astype(np.float32)

    def surface_colours(self, face: Integers, barycentric: Array) -> Array:
        """Lit colours [N, 3] without highlights: what a texture should hold."""
        return np.clip(self._matt(face, barycentric)[0], 0, 1)


def _blend(weights: Array, values: Array) -> Array:
    """Values of corners [N, 3, ...] at barycentric weights [N, 3]: [N, ...]."""
    return np.einsum("nk,nk...->n...", weights, values)


def set_scene(product: Subject, placement: Placement, light: Light | None = None) -> Scene:
    return Scene(product, placement, light or Light(), ambient_occlusion(product))


def on_white(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Straight-alpha pictures [..., 4] over white, [..., 3]."""
    rgb, alpha = pictures[..., :3].astype(np.uint16), pictures[..., 3:].astype(np.uint16)
    return ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
