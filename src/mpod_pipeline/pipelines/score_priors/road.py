"""The whole road for one procedural product, from its photo to scores against its true shape."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mpod_pipeline.datasets import Weights
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.detail import refine_detail
from mpod_pipeline.method.evaluation import Encoders, Evaluation, evaluate, load_encoders
from mpod_pipeline.method.export import export_model
from mpod_pipeline.method.masks import OutlineMasks, export_masks
from mpod_pipeline.method.outline import optimize_outline
from mpod_pipeline.method.segmentation import SegmentationParameters, cut_by_alpha
from mpod_pipeline.method.textual_inversion import learn_token
from mpod_pipeline.metrics.encoders import EfficientNetLite0, load_efficientnet_lite0
from mpod_pipeline.pipelines.score_priors.parameters import RoadParameters
from mpod_pipeline.priors import (
    NovelViewPrior,
    TextToImagePrior,
    load_novel_view_prior,
    load_text_to_image_prior,
)
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.report import Report
from mpod_pipeline.synthesis.ground_truth import ground_truth_mesh
from mpod_pipeline.synthesis.kinds import IMAGENET_KINDS
from mpod_pipeline.synthesis.studio import Scene
from mpod_pipeline.synthesis.views import scene_of

#: Where a product is looked at to tell its kind: from both sides and from behind.
AWAY_FROM_THE_PHOTO = (90.0, 180.0, 270.0)


@dataclass(frozen=True)
class Road:
    """What every product needs; loaded once."""

    novel_view: NovelViewPrior
    text_to_image: TextToImagePrior
    encoders: Encoders
    classifier: EfficientNetLite0

    @classmethod
    def load(cls, novel_view: Weights, text_to_image: Weights, p: RoadParameters) -> Road:
        return cls(
            load_novel_view_prior(
                novel_view.path,
                absolute_elevation=p.outline.absolute_elevation,
                adapters=novel_view.adapters,
            ),
            load_text_to_image_prior(text_to_image.path, adapters=text_to_image.adapters),
            load_encoders(p.evaluation),
            load_efficientnet_lite0(),
        )


@dataclass(frozen=True)
class Outlined:
    """A product on its way, as stage 2 finds it. seconds: of each stage so far."""

    family: str
    scene: Scene
    seen_from: dict[str, float]
    cutout: NDArray[np.uint8]
    token: Tensor
    field: OutlineField
    masks: OutlineMasks
    seconds: dict[str, float]


@dataclass(frozen=True)
class Photographed:
    """A product of a split, its photo cut out [S, S, 4], and where that was taken from."""

    scene: Scene
    cutout: NDArray[np.uint8]
    elevation_deg: float


def photo_of(family: str, product_seed: int) -> Photographed:
    scene, elevation = scene_of(family, product_seed)
    photo = scene.photograph(Cameras.at(0.0, elevation), 512)[0]
    return Photographed(scene, cut_by_alpha(photo, SegmentationParameters()), elevation)


def outline_product(
    family: str, product_seed: int, road: Road, p: RoadParameters, seed: int, report: Report
) -> Outlined:
    """Photograph a product of a split, and go with the photo up to the outline's masks."""
    photo = photo_of(family, product_seed)
    cutout, seen_from = photo.cutout, {"photo_elevation_deg": photo.elevation_deg}
    seconds: dict[str, float] = {}
    with timed("learn_tokens", seconds):
        token = learn_token(cutout, road.text_to_image, p.textual_inversion, seed, report)
    with timed("optimize_outline", seconds):
        outline = p.outline.model_copy(update=seen_from)
        field = optimize_outline(cutout, road.novel_view, outline, seed, report)
    with timed("export_masks", seconds):
        masks = export_masks(field, p.masks)
    return Outlined(family, photo.scene, seen_from, cutout, token, field, masks, seconds)


def finish_product(made: Outlined, road: Road, p: RoadParameters, seed: int, report: Report) -> Evaluation:
    """Go on to the mesh, and score it against the true one.

    To the scores of `evaluate` it adds ``kind_top5`` and ``true_kind_top5``, where ImageNet knows the kind, and the
    seconds of each stage.
    """
    seconds = dict(made.seconds)
    with timed("refine_detail", seconds):
        detail = p.detail.model_copy(update=made.seen_from)
        refined = refine_detail(
            made.cutout, made.token, made.field, made.masks, road.text_to_image, detail, seed, report
        )
    with timed("export_models", seconds):
        mesh = export_model(refined, made.cutout, p.export.model_copy(update=made.seen_from))
    truth = ground_truth_mesh(made.scene)
    evaluation = evaluate(
        made.cutout, made.field, mesh, truth, road.encoders, p.evaluation.model_copy(update=made.seen_from)
    )
    scores = {**evaluation.scores, **seconds}
    if made.family in IMAGENET_KINDS:
        scores["kind_top5"] = share_recognised(mesh, made.family, road.classifier)
        scores["true_kind_top5"] = share_recognised(truth, made.family, road.classifier)
    return replace(evaluation, scores=scores)


@contextmanager
def timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    seconds[f"seconds_{stage}"] = time.perf_counter() - started


def share_recognised(mesh: TexturedMesh, family: str, classifier: EfficientNetLite0) -> float:
    """The share of views away from the photo's whose five likeliest ImageNet classes hold one of the family's."""
    pictures = draw(mesh, Cameras.at(list(AWAY_FROM_THE_PHOTO), 15.0), 224)[0].permute(0, 3, 1, 2)
    likeliest = classifier.class_logits(pictures.contiguous()).topk(5).indices.tolist()
    return float(np.mean([bool(IMAGENET_KINDS[family].intersection(five)) for five in likeliest]))
