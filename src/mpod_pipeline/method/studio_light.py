"""The studio's light in a model's texture, and its colours without it.

A texel's colour is the surface's own times the light that falls there. Light in a studio is soft, so over all
directions it is a low-order function: its logarithm is written in spherical harmonics up to order 2 (Ramamoorthi and
Hanrahan, "An Efficient Representation for Irradiance Environment Maps", 2001), and in how open the surface is to its
surroundings. Products have few colours, each in many places. So where two points have the same tone, and differ in
brightness, that is most likely light: a robust fit over many pairs finds it, and leaves alone the pairs that differ in
paint.

A photo does not tell a dark product in much light from a light one in little: on average the light is taken to be 1.
What of it each choice is worth: docs/shop.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.geometry.glb import TexturedMesh, from_glb, said_of_itself
from mpod_pipeline.geometry.occlusion import ambient_occlusion
from mpod_pipeline.geometry.texture import fill_gaps, over_texels

Array = NDArray[np.floating]

#: Pairs of points that are compared, and rounds of the fit.
PAIRS, ROUNDS = 30_000, 12
#: How far apart the logarithms of two tones (a colour without its brightness) are for a pair to count little.
TONE = 0.05
#: Differences of brightness (logarithms) that still count as light in the first round and in the last.
LIGHT_FIRST, LIGHT_LAST = 0.4, 0.12
#: How much an even light is preferred, so that directions that no photo shows get no light of their own.
EVEN = 0.005
#: Darker than this a colour says nothing of the light; darker than the other it says less.
BLACK, DARK = 0.02, 0.3
#: The light that is taken off, at least and at most.
LEAST, MOST = 0.4, 2.0


#: The light that reaches the bottom of a crevice all the same, by way of other surfaces.
BOUNCED = 0.35
#: What a file says of the light that was taken off.
SAID = "studio_light"


@dataclass(frozen=True)
class StudioLight:
    """coefficients: [9], of `surroundings`, of the logarithm of the light. level: the logarithm's mean."""

    coefficients: tuple[float, ...] = (0.0,) * 9
    level: float = 0.0

    def on(self, normals: Array, openness: Array) -> NDArray[np.float32]:
        """How much light falls on surfaces of these unit world normals [N, 3] and openness [N], 1 on average: [N]."""
        logarithm = surroundings(normals, openness) @ np.array(self.coefficients) - self.level
        return np.exp(logarithm).clip(LEAST, MOST).astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        return {"coefficients": list(self.coefficients), "level": self.level}

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> StudioLight:
        return cls(tuple(float(each) for each in said["coefficients"]), float(said["level"]))


def without_light(mesh: TexturedMesh) -> tuple[TexturedMesh, StudioLight]:
    """The mesh with its texture's colours as they would be in even light, and the light that was taken off."""
    size = mesh.texture.shape[0]
    openness = ambient_occlusion(mesh.vertices, mesh.faces, mesh.normals)
    at_texels, covered = over_texels(mesh, np.column_stack([mesh.normals, openness]), size)
    seen = at_texels[covered]
    seen[:, :3] /= np.linalg.norm(seen[:, :3], axis=1, keepdims=True).clip(1e-6)
    light = fit_light(mesh.texture[covered] / 255, seen[:, :3], seen[:, 3])
    return _scaled(mesh, 1 / light.on(mesh.normals, openness)), light


def with_light(mesh: TexturedMesh, light: StudioLight) -> TexturedMesh:
    """The mesh as it looks in a light again."""
    return _scaled(mesh, light.on(mesh.normals, ambient_occlusion(mesh.vertices, mesh.faces, mesh.normals)))


def as_photographed(glb: bytes) -> TexturedMesh:
    """The mesh in a GLB of ours, in the light that its photo has, whether or not the export took that off."""
    said = said_of_itself(glb).get(SAID)
    return with_light(from_glb(glb), StudioLight.from_json(said)) if said else from_glb(glb)


def _scaled(mesh: TexturedMesh, factors: Array) -> TexturedMesh:
    """The mesh with its texture multiplied by factors of its vertices [V]."""
    picture, covered = over_texels(mesh, factors[:, None], mesh.texture.shape[0])
    texture = (mesh.texture * fill_gaps(picture, covered)).round().clip(0, 255).astype(np.uint8)
    return replace(mesh, texture=texture)


def surroundings(normals: Array, openness: Array) -> NDArray[np.float64]:
    """Spherical harmonics of orders 1 and 2, not scaled, of unit vectors [N, 3], and the logarithm of the light that
    gets to a surface as open as [N] in [0, 1]: [N, 9].
    """
    x, y, z = np.asarray(normals, np.float64).T
    reached = np.log(BOUNCED + (1 - BOUNCED) * openness)
    return np.stack([x, y, z, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y, reached], axis=1)


def fit_light(colours: Array, normals: Array, openness: Array) -> StudioLight:
    """The light in which points of these sRGB colours [N, 3] in [0, 1], unit world normals [N, 3] and openness [N] in
    [0, 1] are seen.

    The gamma of sRGB is about a power, and so only a factor of the logarithm: it need not be undone.
    """
    if len(colours) < 2:
        return StudioLight()
    one, other = np.random.default_rng(0).integers(0, len(colours), (2, PAIRS))
    logarithms = [np.log(colours[some].clip(BLACK)) for some in (one, other)]
    brightness = [np.log(colours[some].mean(axis=1).clip(BLACK)) for some in (one, other)]
    tones = [each - each.mean(axis=1, keepdims=True) for each in logarithms]
    darker = np.minimum(*(colours[some].mean(axis=1) for some in (one, other)))
    alike = np.exp(-((tones[0] - tones[1]) ** 2).sum(axis=1) / TONE**2) * darker.clip(0, DARK) / DARK
    basis = [surroundings(normals[some], openness[some]) for some in (one, other)]
    change, by = brightness[0] - brightness[1], basis[0] - basis[1]
    found = np.zeros(by.shape[1])
    for scale in np.geomspace(LIGHT_FIRST, LIGHT_LAST, ROUNDS):
        weights = alike / (1 + ((change - by @ found) / scale) ** 2) ** 2  # Geman and McClure's
        weighted = by * weights[:, None]
        matrix = weighted.T @ by + EVEN * max(weights.sum(), 1.0) * np.eye(len(found))
        found = np.linalg.solve(matrix, weighted.T @ change)
    return StudioLight(tuple(found.tolist()), float((basis[0] @ found).mean()))
