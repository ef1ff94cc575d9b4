"""The studio's light is found in colours, and taken off: on textures whose light and paint are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.geometry.glb import TexturedMesh, said_of_itself
from mpod_pipeline.geometry.texture import bake, draw, over_texels
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.export import ExportParameters
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.steps.export_models import make
from mpod_pipeline.method.studio_light import StudioLight, as_photographed, fit_light, with_light, without_light
from mpod_pipeline.metrics.colour import ciede2000, srgb_to_lab
from mpod_pipeline.metrics.ground_truth import psnr
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.studio import Light
from mpod_pipeline.synthesis.views import scene_of
from tests.geometry.shapes import ball
from tests.method.conftest import SMALL_FIELD

#: Products of the test split that no number of the module was chosen by.
HELD_OUT = (("teapot", 2_000_004), ("bowl", 2_000_007), ("handbag", 2_000_014), ("compound", 2_000_022))


def surface_of(family: str, seed: int) -> tuple[NDArray, NDArray, NDArray, NDArray]:
    """Lit colours, true colours, normals and openness at points of a product of the generator."""
    scene, _ = scene_of(family, seed)
    product = scene.product
    rng = np.random.default_rng(0)
    faces = rng.integers(0, len(product.faces), 20_000)
    weights = rng.dirichlet([1, 1, 1], len(faces)).astype(np.float32)
    lit, normals = scene._matt(faces, weights)
    corners = product.faces[faces]
    own = np.einsum("nk,nkc->nc", weights, product.corner_normals[faces])
    own /= np.linalg.norm(own, axis=1, keepdims=True) + 1e-12
    points = np.einsum("nk,nkc->nc", weights, product.vertices[corners])
    openness = (np.einsum("nk,nk->n", weights, scene.occlusion[corners]) - 0.35) / 0.65
    return lit.clip(0, 1), product.colour(faces, weights, points, own), normals, openness.clip(0, 1)


def apart(made: NDArray, true: NDArray) -> float:
    """Mean CIEDE2000 of colours [N, 3] that are made equally bright: no photo tells how much light there was."""
    level = np.exp(np.median(np.log(true.clip(0.02)) - np.log(made.clip(0.02))))
    one, other = (srgb_to_lab(torch.from_numpy(each.clip(0, 1))) for each in (made * level, true))
    return float(ciede2000(one, other).mean())


@pytest.mark.parametrize(("family", "seed"), HELD_OUT)
def test_colours_are_nearer_to_the_true_ones_without_the_light(family: str, seed: int) -> None:
    lit, true, normals, openness = surface_of(family, seed)
    light = fit_light(lit, normals, openness).on(normals, openness)
    assert apart(lit / light[:, None], true) < 0.6 * apart(lit, true)


def test_the_light_of_one_colour_is_found() -> None:
    normals = np.random.default_rng(0).normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    key = np.asarray(Light().key) / np.linalg.norm(Light().key)
    true = 0.6 + 0.3 * (normals @ key).clip(0) + 0.05 * normals[:, 2]
    paint = np.where(normals[:, :1] > 0, [0.7, 0.2, 0.2], [0.3, 0.3, 0.6])
    found = fit_light(paint * true[:, None], normals, np.ones(len(normals))).on(normals, np.ones(len(normals)))
    relative = np.log(found) - np.log(true)
    assert relative.std() < 0.03 < 0.3 * np.log(true).std()


def test_even_light_and_print_are_left_alone() -> None:
    normals = np.random.default_rng(1).normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    checks = ((normals * 6).round().sum(axis=1) % 2 > 0)[:, None]
    found = fit_light(np.where(checks, 0.8, 0.25).repeat(3, axis=1), normals, np.ones(len(normals)))
    assert np.abs(found.on(normals, np.ones(len(normals))) - 1).max() < 0.05
    assert fit_light(np.zeros((0, 3)), normals[:0], normals[:0, 0]) == StudioLight()


@pytest.fixture(scope="module")
def lit_ball() -> TexturedMesh:
    """Red above and blue below, in the light of one lamp."""
    key = torch.tensor(Light().key)

    def colour(points: torch.Tensor) -> torch.Tensor:
        paint = torch.where(points[:, 2:] > 0, torch.tensor([0.7, 0.3, 0.3]), torch.tensor([0.3, 0.3, 0.7]))
        facing = (points / points.norm(dim=1, keepdim=True)) @ (key / key.norm())
        return paint * (0.6 + 0.4 * facing.clamp_min(0))[:, None]

    return bake(ball(0.6, 24), colour, 256)


def test_lit_again_the_view_comes_back(lit_ball: TexturedMesh) -> None:
    bare, light = without_light(lit_ball)
    camera = Cameras.at(0.0, 10.0)
    lit, taken_off, again = (
        draw(mesh, camera, 96)[0].permute(0, 3, 1, 2) for mesh in (lit_ball, bare, with_light(bare, light))
    )
    assert psnr(taken_off, lit) < 30 and psnr(again, lit) > 45
    _, covered = over_texels(bare, bare.normals, 256)
    red = bare.texture[covered & (bare.texture[..., 0] > bare.texture[..., 2])].astype(float)
    before = lit_ball.texture[covered & (lit_ball.texture[..., 0] > lit_ball.texture[..., 2])].astype(float)
    assert red[:, 0].std() < 0.35 * before[:, 0].std()


def test_the_export_takes_it_off_and_says_so(cutouts: Cutouts) -> None:
    shape = ball(0.6, 16)
    surface = PaintedSurface(shape.vertices.float(), shape.faces, OutlineField(SMALL_FIELD, seed=3))

    def glb(**said: Any) -> bytes:
        settings = ExportParameters(texture_size=64, occlusion_size=0, **said)
        made: bytes = make(None, Given("ball", {"detail": surface, "photos": cutouts}, settings))["meshes"]
        return made

    kept, removed = glb(studio_light="keep"), glb()
    assert glb(studio_light="remove")[-1000:] == removed[-1000:]  # by default
    assert "studio_light" not in said_of_itself(glb(unlit=True))  # then viewers add no light of their own
    assert (
        "studio_light" not in said_of_itself(kept) and len(said_of_itself(removed)["studio_light"]["coefficients"]) == 9
    )
    before, after = as_photographed(kept), as_photographed(removed)
    assert np.abs(before.texture.astype(int) - after.texture).mean() < 4  # twice through JPEG
