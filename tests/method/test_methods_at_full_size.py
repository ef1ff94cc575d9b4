"""Each method for a few steps by its own preset, on the full-size models' real layouts, in miniature."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
import yaml
from diffusers import ControlNetModel

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import merged
from mpod_pipeline.method.comparison.methods import METHODS, OUTLINE_OF
from mpod_pipeline.method.comparison.queries import prior_queries
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.detail import DetailParameters, FurtherGuides, refine_detail
from mpod_pipeline.method.guidance.likeness import load_likeness_encoders
from mpod_pipeline.method.masks import MaskParameters, export_masks
from mpod_pipeline.method.outline import FurtherModels, Outline, OutlineParameters, optimize_outline
from mpod_pipeline.method.point_cloud import refine_points
from mpod_pipeline.priors import (
    NovelViewPrior,
    TextToImagePrior,
    load_mask_controlnet,
    load_novel_view_prior,
    load_text_to_image_prior,
)
from mpod_pipeline.priors.depth import DisparityNetwork, load_disparity_network
from tests.method.conftest import SMALL_FIELD
from tests.priors.layouts import save_controlnet, save_dpt, save_stable_diffusion_15, save_zero123

CONF = Path(__file__).parents[2] / "conf"
SIZES = SMALL_FIELD.model_dump(include={"hash_grid", "mlp_width", "occupancy_resolution"})
SMALL = {"steps": 8, "resolutions": [24], "field": SIZES, "depth_network": "dpt", "cavities": None}
OUTLINES = sorted(set(OUTLINE_OF.values()))


class Models(NamedTuple):
    novel_view: NovelViewPrior
    text: TextToImagePrior
    controlnet: ControlNetModel
    depth: DisparityNetwork


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("full_size")
    save_stable_diffusion_15(folder / "sd15")
    save_zero123(folder / "zero123")
    text = load_text_to_image_prior(folder / "sd15", precision="float32")
    return Models(
        load_novel_view_prior(folder / "zero123", precision="float32"),
        text,
        load_mask_controlnet(save_controlnet(folder / "controlnet", text.unet), text),
        load_disparity_network(save_dpt(folder / "dpt"), "cpu"),
    )


def preset(method: str, section: str, **smaller: Any) -> dict[str, Any]:
    """That of conf/gpu over conf/base, made small."""
    both = [yaml.safe_load((CONF / env / "parameters_methods.yml").read_text())["methods"] for env in ("base", "gpu")]
    layers = [each.get(method, {}).get(section, {}) for each in both]
    not_here = {"likeness": {"open_clip": None, "vgg19_weights": None, "size": 32}} if layers[0].get("likeness") else {}
    return merged(*layers, smaller, not_here)


def outline_of(method: str, models: Models, photos: Cutouts, losses: list[dict[str, float]]) -> Outline:
    p = OutlineParameters.model_validate(preset(method, "outline", **SMALL))
    encoders = load_likeness_encoders(p.likeness, "cpu") if p.likeness else None
    further = FurtherModels(models.text, torch.randn(768), encoders, models.depth)
    prior = models.novel_view if p.asks_for_views else None
    return optimize_outline(photos, prior, p, 0, lambda s, n, v: losses.append(v), further_models=further)


@pytest.mark.parametrize("method", OUTLINES)
def test_each_outline_is_led_as_its_preset_says(method: str, models: Models, cutouts: Cutouts) -> None:
    losses: list[dict[str, float]] = []
    outline_of(method, models, cutouts, losses)
    named = {name for step in losses for name in step}
    assert all(np.isfinite(list(step.values())).all() for step in losses)
    assert ("sds" in named) == (method in ("mpod123", "magic123"))
    assert ("text_sds" in named) == (method != "mpod123")
    assert ("likeness" in named) == (method == "make_it_3d")
    assert ("depth" in named) == (method in ("make_it_3d", "magic123"))


@pytest.mark.parametrize("method", METHODS)
def test_each_second_stage_is_led_as_its_preset_says(method: str, models: Models, cutouts: Cutouts) -> None:
    outline = outline_of("mpod123", models, cutouts, [])
    masks = export_masks(outline.field, MaskParameters(azimuths=4, elevations_deg=(0.0,), resolution=32))
    settings = preset(method, "detail", steps=3, grid_resolution=12, resolution=32, outline_resolution=24)
    p = DetailParameters.model_validate(settings)
    encoders = load_likeness_encoders(p.likeness, "cpu") if p.likeness else None
    guides = FurtherGuides(
        models.controlnet if p.mask_guidance == "controlnet" else None,
        models.novel_view if p.asks_for_views else None,
        encoders,
    )
    words = (torch.randn(768), models.text) if p.asks_with_words else (None, None)
    losses: list[dict[str, float]] = []
    refine = refine_points if p.second_stage == "points" else refine_detail
    made = refine(
        outline.photos, words[0], outline.field, masks, words[1], p, 0, lambda s, n, v: losses.append(v), further=guides
    )
    assert made.vertices.isfinite().all() and len(made.faces) > 50
    assert (made.points is not None) == (method == "make_it_3d")
    named = {name for step in losses for name in step}
    assert ("novel_view_sds" in named) == (method in ("zero123_sds", "magic123"))
    assert ("novel_view_mask" in named) == (method in ("mpod123", "controlnet"))
    assert (not named) == (method in ("stage1_only", "realfusion"))


def test_a_disparity_network_says_that_the_nearest_is_nearest(models: Models) -> None:
    depth = models.depth.estimate(torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0)), 0.0)
    assert depth.shape == (2, 32, 32)
    assert float(depth.min()) == pytest.approx(0, abs=0.1) and float(depth.max()) == pytest.approx(1, abs=0.1)
    with pytest.raises(SetupError, match=r"no depth network at .*outline\.depth_network"):
        load_disparity_network(Path("nowhere"), "cpu")


def test_queries_are_what_the_settings_ask_for() -> None:
    outline = OutlineParameters.model_validate({"steps": 100, "cavities": None, "reference_probability": 0.25})
    none = DetailParameters(second_stage="none")
    assert prior_queries(outline, none) == 75
    both = OutlineParameters.model_validate(
        {"steps": 100, "cavities": None, "photo_every": 4, "text": {"guidance_scale": 5.0, "after": 0.6}}
    )
    assert prior_queries(both, none) == 75 + 30
    assert prior_queries(outline, DetailParameters(steps=80)) == 75 + 2 * 8 * 5  # painted twice, in five steps
