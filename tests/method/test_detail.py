"""Stage 2: from a ball of density to a textured mesh, within its masks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.mesh import Mesh, check_mesh, is_watertight
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.detail import (
    DetailGuides,
    DetailWeights,
    FurtherGuides,
    draw_masks,
    mask_views,
    novel_view_losses,
    rectified_columns,
    refine_detail,
    render,
    start_shape,
)
from mpod_pipeline.method.evaluation import Encoders, EvaluationParameters, evaluate
from mpod_pipeline.method.export import ExportParameters, export_model
from mpod_pipeline.method.guidance.shading import ShadingParameters
from mpod_pipeline.method.inpainting import InpaintingParameters, painted_over
from mpod_pipeline.method.masks import OutlineMasks, export_masks
from mpod_pipeline.priors import TextToImagePrior
from mpod_pipeline.priors.latents import decode_latents
from mpod_pipeline.priors.mrca import TokenMask
from mpod_pipeline.rendering.cameras import Cameras
from tests.method.quick import QUICK_DETAIL, QUICK_MASKS, RADIUS, Ball

EXPORT = ExportParameters(texture_size=64)


def test_the_start_is_the_outlines_surface_and_its_silhouette_the_mask() -> None:
    field = Ball(20.0)
    masks = export_masks(field, QUICK_MASKS)
    mesh = start_shape(field, masks, QUICK_DETAIL.model_copy(update={"grid_resolution": 32})).mesh()
    radius = mesh.vertices.norm(dim=-1)
    assert is_watertight(mesh)
    # The field is a step; marching finds it within a cell of 0.05.
    assert float(radius.min()) > RADIUS - 0.05 and float(radius.max()) < RADIUS + 0.05
    seen = render(mesh, field, Cameras.at(90.0, 0.0), QUICK_DETAIL).opacity[0].detach().numpy() > 0.5
    assert (seen & masks.mask[1]).sum() / (seen | masks.mask[1]).sum() > 0.95


def test_from_field_to_scored_mesh(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    field = Ball(20.0)
    masks = export_masks(field, QUICK_MASKS)
    token = text_to_image.word_embedding("a")
    losses: list[dict[str, float]] = []
    refined = refine_detail(
        cutouts, token, field, masks, text_to_image, QUICK_DETAIL, 0, lambda s, n, v: losses.append(v)
    )
    made = export_model(refined, cutouts, EXPORT)
    assert len(losses) == 4
    assert {"reference_colour", "novel_view_mask", "sds", "laplacian", "colour_smoothness"} <= set(losses[0])
    shape = Mesh(torch.from_numpy(made.vertices), torch.from_numpy(made.faces).long())
    assert float(shape.volume()) == pytest.approx(4 / 3 * np.pi * RADIUS**3, rel=0.15)

    p = EvaluationParameters(azimuths=3, resolution=32, sheet_resolution=32, surface_points=500)
    evaluation = evaluate(cutouts, field, made, made, Encoders([], [], []), p)
    assert evaluation.scores["silhouette_iou"] == 1.0
    assert evaluation.scores["chamfer"] == evaluation.scores["depth_error_above"] == 0.0
    assert evaluation.scores["volume_iou"] == 1.0 and evaluation.scores["opening_depth"] < 0.1
    assert "cavity_depth" not in evaluation.scores
    assert (evaluation.scores["pieces"], evaluation.scores["watertight"]) == (1, True)
    assert 0 < evaluation.scores["outline_silhouette_iou"] < 1
    assert evaluation.pictures.sheet.shape == evaluation.pictures.normals.shape == (3 * 32, 4 * 32, 3)
    assert evaluation.scores["psnr"] == 60.0 and evaluation.flags == []
    assert evaluation.scores["sharpness"] == 1.0

    in_metres = replace(made, vertices=made.vertices * 0.2)
    flagged = evaluate(cutouts, field, made, in_metres, Encoders([], [], []), p)
    (flag,) = flagged.flags
    assert flag.startswith("ground truth not used: ") and "world units" in flag
    against_truth = {"psnr", "silhouette_iou", "sharpness"}
    against_truth |= {"chamfer", "volume_iou", "depth_error_above", *(f"outline_{name}" for name in against_truth)}
    assert flagged.scores.keys() == evaluation.scores.keys() - against_truth
    assert np.array_equal(flagged.pictures.sheet, evaluation.pictures.sheet)


class Pair(Ball):
    """Two balls side by side, as a pair of shoes stands."""

    def density(self, points: torch.Tensor) -> torch.Tensor:
        aside = torch.tensor([0.0, 0.45, 0.0])
        near = torch.minimum((points - aside).norm(dim=-1), (points + aside).norm(dim=-1))
        return 20.0 * (near < 0.3).float()


def some_steps(
    cutouts: Cutouts, field: OutlineField, prior: TextToImagePrior, **settings: object
) -> tuple[TexturedMesh, list[dict[str, float]]]:
    """What becomes of a field with QUICK_DETAIL's settings but for these, and the losses."""
    losses: list[dict[str, float]] = []
    p = QUICK_DETAIL.model_copy(update=settings)
    token = prior.word_embedding("a")
    masks = export_masks(field, QUICK_MASKS)
    refined = refine_detail(cutouts, token, field, masks, prior, p, 0, lambda s, n, v: losses.append(v))
    return export_model(refined, cutouts, EXPORT), losses


def test_the_photo_paints_the_mesh(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    """And moves it: the cutout's disc is a little smaller than the ball."""
    made, losses = some_steps(
        cutouts,
        Ball(20.0),
        text_to_image,
        steps=30,
        reference_probability=1.0,
        table_learning_rate=0.05,
        network_learning_rate=0.01,
        sdf_learning_rate=0.01,
    )
    assert losses[-1]["reference_colour"] < 0.3 * losses[0]["reference_colour"]
    assert losses[-1]["reference_mask"] < 0.7 * losses[0]["reference_mask"]
    front = draw(made, Cameras.at(0.0, 0.0), 32)[0][0]  # [32, 32, 3]
    above, below = front[12, 16], front[20, 16]
    assert above[0] > above[2] + 0.3 and below[2] > below[0] + 0.3  # red above blue


class RedBall(Ball):
    def colour(self, points: torch.Tensor) -> torch.Tensor:
        return super().colour(points) * 0.05 + torch.tensor([0.9, 0.0, 0.0])


def test_the_texture_starts_as_the_outlines_colours(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    made, _ = some_steps(cutouts, RedBall(20.0), text_to_image, steps=1, reference_probability=0.0)
    picture, opacity, _ = draw(made, Cameras.at([0.0, 180.0], 0.0), 32)
    red, green, blue = picture[opacity > 0.9].mean(dim=0)
    assert red > 0.85 and green < 0.1 and blue < 0.1


@pytest.mark.parametrize("guidance", ["mrca", "none"])
def test_each_novel_view_meets_its_own_outline(
    text_to_image: TextToImagePrior, cutouts: Cutouts, monkeypatch: pytest.MonkeyPatch, guidance: str
) -> None:
    """From the front a pair is two balls, from the side one. L_nvm (Eq. 9) compares each with its own mask, and MRCA
    gets that mask: it lies where the picture does that the prior is shown.
    """
    field = Pair(20.0)
    masks = export_masks(field, QUICK_MASKS)
    p = QUICK_DETAIL.model_copy(update={"grid_resolution": 32, "mask_guidance": guidance})
    mesh = start_shape(field, masks, p).mesh()
    guides = DetailGuides.of(text_to_image, text_to_image.word_embedding("a"), p, cutouts, FurtherGuides())
    columns = guides.text.prompts["front view"].token_columns.tolist()
    shown: list[torch.Tensor] = []
    told: list[TokenMask | None] = []
    encode = text_to_image.encode

    def watched_encode(pictures: torch.Tensor) -> torch.Tensor:
        shown.append(pictures.detach())
        return encode(pictures)

    def watched_predict(noisy: torch.Tensor, *rest: object) -> torch.Tensor:
        told.append(rest[4])  # type: ignore[arg-type]
        return torch.zeros_like(noisy)

    monkeypatch.setattr(text_to_image, "encode", watched_encode)
    monkeypatch.setattr(text_to_image, "predict", watched_predict)

    def mask_loss_of(masks: OutlineMasks, seed: int) -> float:
        generator = torch.Generator().manual_seed(seed)
        drawn = draw_masks(masks, p.novel_views, generator)
        seen = render(mesh, field, mask_views(drawn), p)
        losses = novel_view_losses(field, seen, drawn, guides, 0.0, generator)
        return float(losses["novel_view_mask"]) / p.weights.novel_view_mask

    turned = replace(masks, mask=np.roll(masks.mask, 1, axis=0))
    for seed in range(8):
        assert mask_loss_of(masks, seed) < 0.02  # pixels at the outline are half covered
        if guidance == "mrca":
            mask = told[-1].mask[0, 0] > 0.5  # type: ignore[union-attr]
            seen = (shown[-1][0] < 0.97).any(dim=0)
            assert (mask & seen).sum() / (mask | seen).sum() > 0.8
            assert told[-1].columns.tolist() == columns  # type: ignore[union-attr]
        else:
            assert told[-1] is None
        assert mask_loss_of(turned, seed) > 0.05


@pytest.mark.parametrize("lit", [False, True])
def test_sds_has_a_gradient_to_colour_and_shape(cutouts: Cutouts, text_to_image: TextToImagePrior, lit: bool) -> None:
    """By silhouettes; and where the views are shaded, to the surface that faces the camera, too."""
    field = Ball(20.0)
    masks = export_masks(field, QUICK_MASKS)
    p = QUICK_DETAIL.model_copy(update={"shading": ShadingParameters(lambertian=float(lit))})
    shape = start_shape(field, masks, p)
    mesh = shape.mesh()
    mesh.vertices.retain_grad()
    generator = torch.Generator().manual_seed(0)
    front = masks[np.array([0])]
    guides = DetailGuides.of(text_to_image, text_to_image.word_embedding("a"), p, cutouts, FurtherGuides())
    seen = render(mesh, field, mask_views(front), p)
    novel_view_losses(field, seen, front, guides, 0.0, generator)["sds"].backward()
    (table,) = field.encoding.parameters()
    assert table.grad is not None and table.grad.abs().max() > 0
    assert shape.sdf.grad is not None and shape.sdf.grad.abs().max() > 0
    facing = mesh.vertices.detach()[:, 0] > 0.8 * RADIUS
    assert mesh.vertices.grad is not None and facing.any()
    assert bool(mesh.vertices.grad[facing].any()) is lit


def test_a_painted_target_is_what_the_mesh_comes_to_look_like(
    cutouts: Cutouts, text_to_image: TextToImagePrior, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stable Diffusion paints green from all sides, beyond the outline, too; the ball turns green and stays a ball."""
    painted: list[tuple[int, ...]] = []

    def green(pictures: torch.Tensor, outline: torch.Tensor, *_: object) -> torch.Tensor:
        painted.append(tuple(pictures.shape))
        return torch.tensor([0.0, 1.0, 0.0])[:, None, None] * outline + 1 - outline

    monkeypatch.setattr("mpod_pipeline.method.detail.painted_over", green)
    inpainting = InpaintingParameters(colour=400.0, features=1.0, views=2, every=10)
    made, losses = some_steps(
        cutouts,
        Ball(20.0),
        text_to_image,
        steps=20,
        table_learning_rate=0.05,
        network_learning_rate=0.01,
        reference_probability=0.0,
        inpainting=inpainting,
        weights=DetailWeights(outline_colour=0.0),
    )
    assert painted == [(2, 3, 32, 32)] * 2
    losses = [step for step in losses if "painted_colour" in step]  # not of views that the photo shows
    assert len(losses) > 10
    assert losses[-1]["painted_colour"] < 0.5 * losses[0]["painted_colour"]
    assert losses[-1]["painted_features"] < losses[0]["painted_features"]
    picture, opacity, _ = draw(made, Cameras.at(180.0, 0.0), 32)
    red, green_, _ = picture[opacity > 0.9].mean(dim=0)
    assert green_ > red + 0.3


def test_painting_over_stays_near_the_render_and_within_the_outline(text_to_image: TextToImagePrior) -> None:
    pictures = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outline = torch.zeros(2, 1, 32, 32)
    outline[..., 8:24, 8:24] = 1
    asked: list[int] = []
    clean = text_to_image.encode(pictures)

    def predict(noisy: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        asked.append(int(timesteps[0]))
        schedule = text_to_image.schedule
        noise = (noisy - schedule.alpha(timesteps, noisy) * clean) / schedule.sigma(timesteps, noisy)
        return schedule.target(clean, noise, timesteps)

    p = InpaintingParameters(noise=0.4, steps=3)
    painted = painted_over(pictures, outline, text_to_image, predict, p, torch.Generator().manual_seed(0))
    assert asked[0] == round(0.4 * 999) and len(asked) == 3
    assert bool((painted * (1 - outline) == 1 - outline).all())
    inside = decode_latents(text_to_image.vae, clean)[..., 8:24, 8:24]
    torch.testing.assert_close(painted[..., 8:24, 8:24], inside, atol=0.02, rtol=0)


def test_a_pair_stays_a_pair(cutouts: Cutouts, text_to_image: TextToImagePrior) -> None:
    field = Pair(20.0)
    masks = export_masks(field, QUICK_MASKS)
    p = QUICK_DETAIL.model_copy(update={"grid_resolution": 24, "steps": 1})
    token = text_to_image.word_embedding("a")
    refined = refine_detail(cutouts, token, field, masks, text_to_image, p, 0, lambda *_: None)
    assert check_mesh(Mesh(refined.vertices, refined.faces)).components == 2
    made = export_model(refined, cutouts, EXPORT)
    # the texture's seams part the vertices
    vertices, whole = torch.unique(torch.from_numpy(made.vertices), dim=0, return_inverse=True)
    assert check_mesh(Mesh(vertices, whole[torch.from_numpy(made.faces).long()])).components == 2


@pytest.mark.parametrize(("probability", "photo", "prior"), [(None, 4, 4), (1.0, 4, 0), (0.0, 0, 4)])
def test_each_step_looks_where_it_is_told(
    cutouts: Cutouts, text_to_image: TextToImagePrior, probability: float | None, photo: int, prior: int
) -> None:
    field, losses = Ball(20.0), list[dict[str, float]]()
    token = text_to_image.word_embedding("a")
    p = QUICK_DETAIL.model_copy(update={"reference_probability": probability})
    refine_detail(
        cutouts, token, field, export_masks(field, QUICK_MASKS), text_to_image, p, 0, lambda s, n, v: losses.append(v)
    )
    assert sum("reference_colour" in values for values in losses) == photo
    assert sum("sds" in values for values in losses) == prior


def test_which_columns_are_rectified(text_to_image: TextToImagePrior) -> None:
    prompt = text_to_image.encode_prompt("a photo of <e>", text_to_image.word_embedding("a"))
    only = rectified_columns(prompt, QUICK_DETAIL)
    behind = rectified_columns(prompt, QUICK_DETAIL.model_copy(update={"masked_columns": "token_and_after"}))
    assert only.nonzero()[:, 0].tolist() == [4]
    assert behind.nonzero()[:, 0].tolist() == list(range(4, 16))


def test_a_field_without_surface_is_the_products_failure() -> None:
    masks = export_masks(Ball(20.0), QUICK_MASKS)
    with pytest.raises(ProductError):
        start_shape(Ball(0.0), masks, QUICK_DETAIL)
