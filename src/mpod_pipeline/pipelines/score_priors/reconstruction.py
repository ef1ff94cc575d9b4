"""The method's steps on one product of the generator, from its photo to scores against its true shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.geometry.glb import TexturedMesh, from_glb
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.segmentation import SegmentationParameters, cut_by_alpha
from mpod_pipeline.method.steps import STEPS, load_models, run_steps
from mpod_pipeline.metrics.encoders import EfficientNetLite0, load_efficientnet_lite0
from mpod_pipeline.pipelines.score_priors.parameters import MethodParameters
from mpod_pipeline.priors.elevation import load_elevation_network
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.ground_truth import ground_truth_mesh
from mpod_pipeline.synthesis.kinds import IMAGENET_KINDS
from mpod_pipeline.synthesis.studio import Scene
from mpod_pipeline.synthesis.views import scene_of

#: Where the method has the height of the photo's camera from: it is told, or found in the photo.
Height = Literal["told", "found"]
HEIGHTS: tuple[Height, ...] = ("told", "found")
#: Where a product is looked at to tell its kind: from both sides and from behind.
AWAY_FROM_THE_PHOTO = (90.0, 180.0, 270.0)
#: The steps of a product whose cutout is known, up to stage 2 and from there on.
TO_THE_OUTLINE = STEPS[1:4]
FROM_THE_OUTLINE = STEPS[4:]


@dataclass(frozen=True)
class Method:
    """The method's models by step, and who tells a product's kind; loaded once for all products."""

    models: Mapping[str, Any]
    classifier: EfficientNetLite0

    @classmethod
    def load(cls, priors: Mapping[str, Weights], p: MethodParameters) -> Method:
        """priors: by their names in `Step.prior`."""
        steps = (*TO_THE_OUTLINE, *FROM_THE_OUTLINE)
        return cls(load_models(steps, dict(p), priors), load_efficientnet_lite0())


@dataclass(frozen=True)
class Photographed:
    """A product's scene, and its cutout as the method wants it."""

    scene: Scene
    cutouts: Cutouts


def photo_of(family: str, product_seed: int, height: Height = "told") -> Photographed:
    """The photo of a product of a split, from its first view."""
    scene, elevation = scene_of(family, product_seed)
    photo = scene.photograph(Cameras.at(0.0, elevation), 512)[0]
    return Photographed(scene, Cutouts.of(*cut_at(photo, elevation, height)))


def cut_at(photo: NDArray[np.uint8], elevation_deg: float, height: Height) -> tuple[NDArray[np.uint8], float]:
    """The cutout of a photo [H, W, 4], and how high its camera stood: at what is told, or what is found."""
    picture = cut_by_alpha(photo, SegmentationParameters())
    return picture, elevation_deg if height == "told" else load_elevation_network().estimate(picture)


def outline_product(photo: Photographed, method: Method, p: MethodParameters, seed: int) -> dict[str, Any]:
    """The artifacts of a product up to the outline's masks, by name; and ``seconds``, by step."""
    given = {"cutouts": photo.cutouts, "cutout_checks": {"cutout_confidence": 1.0, "flags": ""}}
    made, seconds = run_steps(TO_THE_OUTLINE, method.models, dict(p), given, seed=seed)
    return {**made, "seconds": seconds}


def finish_product(
    family: str, photo: Photographed, outlined: Mapping[str, Any], method: Method, p: MethodParameters, seed: int
) -> dict[str, Any]:
    """Go on to the mesh, and score it against the true one: all artifacts.

    To the scores it adds ``kind_top5`` and ``true_kind_top5``, where ImageNet knows the kind, and the seconds of each
    step.
    """
    truth = ground_truth_mesh(photo.scene)
    made, seconds = run_steps(FROM_THE_OUTLINE, method.models, dict(p), {**outlined, "ground_truth": truth}, seed=seed)
    scores = dict(made["evaluations"])
    scores |= {f"seconds_{step}": value for step, value in {**outlined["seconds"], **seconds}.items()}
    if family in IMAGENET_KINDS:
        mesh = from_glb(made["meshes"])
        scores["kind_top5"] = share_recognised(mesh, family, method.classifier)
        scores["true_kind_top5"] = share_recognised(truth, family, method.classifier)
    return {**made, "evaluations": scores}


def share_recognised(mesh: TexturedMesh, family: str, classifier: EfficientNetLite0) -> float:
    """The share of views away from the photo's whose five likeliest ImageNet classes hold one of the family's."""
    pictures = draw(mesh, Cameras.at(list(AWAY_FROM_THE_PHOTO), 15.0), 224)[0].permute(0, 3, 1, 2)
    likeliest = classifier.class_logits(pictures.contiguous()).topk(5).indices.tolist()
    return float(np.mean([bool(IMAGENET_KINDS[family].intersection(five)) for five in likeliest]))
