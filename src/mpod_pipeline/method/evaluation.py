"""Look at what was made, and score it: CX, similarity to the photo, consistency of views; and against ground truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt
from torch import Tensor
from torchvision.ops import box_iou, masks_to_boxes

from mpod_pipeline.base.errors import ProductError, SetupError, noted
from mpod_pipeline.base.parameters import ElevationDeg, SizeParameters
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.geometry.glb import TexturedMesh
from mpod_pipeline.geometry.mesh import Mesh, check_mesh, sample_surface
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.cutouts import Cutouts, Reference, extent, reference_view
from mpod_pipeline.method.masks import UNSEEN_DEG
from mpod_pipeline.method.size import contradiction
from mpod_pipeline.method.turntable import Turntable, turntable
from mpod_pipeline.metrics.colour import ciede2000, srgb_to_lab
from mpod_pipeline.metrics.contextual import contextual_distance
from mpod_pipeline.metrics.details import feature_distance, sharpness
from mpod_pipeline.metrics.encoders import (
    FeatureExtractor,
    ImageEncoder,
    LayeredExtractor,
    OpenClipParameters,
    load_efficientnet_lite0,
    load_open_clip,
    load_vgg19,
    score_name,
)
from mpod_pipeline.metrics.ground_truth import chamfer_distance, psnr, silhouette_iou
from mpod_pipeline.metrics.shape import cavity_depth, depth_error, opening_depth, volume_iou
from mpod_pipeline.metrics.similarity import multi_view_consistency, semantic_similarity
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import on_background

#: Below this overlap of their boxes in the photo's view, a ground truth is of another size, or turned over.
SAME_FRAME_IOU = 0.5
#: Below this overlap of the silhouettes in the photo's view, the model has lost a part of its product.
LEAST_PHOTO_IOU = 0.8
#: dB. Nearer than that, files of 8 bits do not tell two pictures apart; and one infinite score would be any mean's.
HIGHEST_PSNR = 60.0
#: A view turned further than this from the photo's shows the back, degrees.
BACK_DEG = 135.0


class EvaluationParameters(SizeParameters):
    """The fixed views of scores and pictures. Angles in degrees; azimuth 0 is the photo's view."""

    azimuths: int = Field(12, ge=2)
    elevation_deg: ElevationDeg = 15.0
    resolution: PositiveInt = 128
    sheet_resolution: PositiveInt = Field(512, description="of one view of the turntable")
    surface_points: PositiveInt = 10_000
    open_clip: OpenClipParameters | None = Field(None, description="a CLIP to score with as well (the paper's score)")
    vgg19_weights: Path | None = Field(
        None, description="torchvision's VGG19 weights, for the paper's CX and a feature distance"
    )
    device: str = Field("cpu", description="where these two are to be, as PyTorch names it")


@dataclass(frozen=True)
class Encoders:
    """What scores see with; loaded once for a whole catalog."""

    images: Sequence[ImageEncoder]
    features: Sequence[FeatureExtractor]
    layered: Sequence[LayeredExtractor]


def load_encoders(parameters: EvaluationParameters) -> Encoders:
    """The embedded encoder, and those that the parameters name. Raises SetupError naming all that is missing."""
    embedded = load_efficientnet_lite0()
    images: list[ImageEncoder] = [embedded]
    features: list[FeatureExtractor] = [embedded]
    lacks: list[str] = []
    layered: list[LayeredExtractor] = [embedded]
    if parameters.open_clip:
        with noted(lacks):
            images.append(load_open_clip(parameters.open_clip, parameters.device))
    if parameters.vgg19_weights:
        with noted(lacks):
            vgg19 = load_vgg19(parameters.vgg19_weights, parameters.device)
            features.append(vgg19)
            layered.append(vgg19)
    if lacks:
        raise SetupError("\n".join(lacks))
    return Encoders(images, features, layered)


@dataclass(frozen=True)
class Evaluation:
    """Scores by name; flags: what of the product somebody should look at, each with its reason; its pictures."""

    scores: dict[str, float | int | bool]
    flags: list[str]
    pictures: Turntable


def evaluate(
    photos: Cutouts,
    field: OutlineField,
    mesh: TexturedMesh,
    ground_truth: TexturedMesh | None,
    encoders: Encoders,
    parameters: EvaluationParameters,
) -> Evaluation:
    """Score stage 1's field ("outline_...") and stage 2's mesh from the same fixed novel views, and draw the mesh.

    Without ground truth only what compares with the photo is scored; so, with a flag, where the ground truth is not in
    the photo's frame: scores against it would say nothing.
    """
    p = parameters
    azimuths = torch.arange(p.azimuths).float() * 360 / p.azimuths
    cameras = Cameras.at(azimuths, p.elevation_deg)
    photo_camera = photos.front.camera
    photo = reference_view(photos.front.picture, p.resolution)
    flags = []
    if ground_truth is not None:
        try:
            check_frame(draw(ground_truth, photo_camera, p.resolution)[1], photo.mask)
        except ProductError as error:
            ground_truth = None
            flags.append(f"ground truth not used: {error}")

    scores: dict[str, float | int | bool] = {}
    views = {"outline": draw_field(field, cameras, p.resolution), "": draw(mesh, cameras, p.resolution)[:2]}
    fronts = {"outline": draw_field(field, photo_camera, p.resolution), "": draw(mesh, photo_camera, p.resolution)[:2]}
    truth = draw(ground_truth, cameras, p.resolution)[:2] if ground_truth else None
    for stage, (pictures, opacity) in views.items():
        named = view_scores((pictures, opacity), fronts[stage], photo, azimuths, truth, encoders)
        scores |= {f"{stage}_{name}" if stage else name: value for name, value in named.items()}
    scores |= further_scores(mesh, photos, p.resolution)
    overlaps = {name: iou for name, iou in scores.items() if name.startswith("photo") and name.endswith("_iou")}
    flags += [f"{name} below {LEAST_PHOTO_IOU}" for name, iou in overlaps.items() if iou < LEAST_PHOTO_IOU]
    height, width = extent(photos.front.picture)
    if told := contradiction(height / width, photos.front.elevation_deg, p):
        flags.append(told)
    shape = _shape(mesh)
    facts = check_mesh(shape)
    scores |= {"pieces": facts.components, "watertight": facts.watertight, "opening_depth": opening_depth(shape)}
    if ground_truth is not None:
        scores |= shape_scores(shape, _shape(ground_truth), p.surface_points)
    return Evaluation(scores, flags, turntable(photos, mesh, p.sheet_resolution))


def view_scores(
    views: tuple[Tensor, Tensor],
    front: tuple[Tensor, Tensor],
    photo: Reference,
    azimuth_deg: Tensor,
    truth: tuple[Tensor, Tensor] | None,
    encoders: Encoders,
) -> dict[str, float]:
    """All that views alone tell of a model. views, truth: pictures [N, R, R, 3] and opacities [N, R, R] from azimuths
    [N]; front: the same of the photo's own camera, [1, R, R, 3] and [1, R, R].
    """
    pictures, opacity = views
    scores = {**perceptual_scores(photo.picture, _channels_first(pictures), encoders), **photo_scores(*front, photo)}
    if truth is None:
        return scores
    from_behind = (azimuth_deg - 180).abs()
    unseen, back = from_behind < 180 - UNSEEN_DEG, from_behind < 180 - BACK_DEG
    made = _channels_first(pictures), opacity[:, None]
    true = _channels_first(truth[0]), truth[1][:, None]
    scores["psnr"] = float(psnr(made[0], true[0]).clamp(max=HIGHEST_PSNR).mean())
    scores["silhouette_iou"] = float(silhouette_iou(made[1], true[1]).mean())
    scores |= detail_scores((made[0][unseen], made[1][unseen]), (true[0][unseen], true[1][unseen]), encoders.layered)
    return scores | janus_scores(photo.picture, made[0][back], true[0][back], encoders.images)


def further_scores(mesh: TexturedMesh, photos: Cutouts, resolution: int) -> dict[str, float]:
    """How the mesh is like each further photo from its own camera, as `photo_scores`, named after the photo."""
    scores: dict[str, float] = {}
    for photo in photos.others:
        seen = draw(mesh, photo.camera, resolution)[:2]
        of_photo = photo_scores(*seen, reference_view(photo.picture, resolution))
        scores |= {name.replace("photo_", f"photo_{photo.name}_"): value for name, value in of_photo.items()}
    return scores


def shape_scores(made: Mesh, true: Mesh, points: int) -> dict[str, float]:
    """How a shape is like the true one, views from the side apart; ``cavity_depth`` only where that is hollow."""
    scores = {
        "chamfer": chamfer_distance(_points(made, points), _points(true, points)),
        "volume_iou": volume_iou(made, true),
        "depth_error_above": depth_error(made, true),
    }
    cavity = cavity_depth(made, true)
    return scores if cavity is None else {**scores, "cavity_depth": cavity}


def photo_scores(picture: Tensor, opacity: Tensor, photo: Reference) -> dict[str, float]:
    """How a view from the photo's camera, picture [1, R, R, 3] and opacity [1, R, R], is like the photo.

    ``photo_psnr`` counts the pixels where either shows the product: over the whole frame, a model that has lost a small
    product would be praised for its white paper. Of a product so thin that it half covers no pixel, none is found.
    """
    opacity, mask = opacity[:, None], photo.mask[None, None]
    likeness = psnr(_channels_first(picture), photo.picture[None], (opacity > 0) | (mask > 0))
    iou = silhouette_iou(opacity, mask) if (mask >= 0.5).any() else torch.zeros(1)
    return {
        "photo_psnr": min(float(likeness), HIGHEST_PSNR),
        "photo_iou": float(iou),
        **colour_scores(_channels_first(picture)[0], opacity[0, 0], photo),
    }


def colour_scores(picture: Tensor, opacity: Tensor, photo: Reference) -> dict[str, float]:
    """How different the colours of a view [3, R, R] look from the photo's: CIEDE2000, the mean over the pixels that are
    wholly the product's in both. None where there is no such pixel. opacity: of the view, [R, R].
    """
    both = (opacity >= 0.999) & (photo.mask >= 0.999)
    if not both.any():
        return {}
    made, true = (srgb_to_lab(colours.permute(1, 2, 0)[both].clamp(0, 1)) for colours in (picture, photo.picture))
    return {"photo_ciede2000": float(ciede2000(made, true).mean())}


def check_frame(opacity: Tensor, mask: Tensor) -> None:
    """Raises ProductError where a ground truth's opacity [1, R, R] in the photo's view lies elsewhere than the photo's
    mask [R, R]: most likely its vertices are in metres, or in a unit cube.
    """
    inside = [opacity >= 0.5, mask[None] >= 0.5]
    iou = 0.0
    if all(some.any() for some in inside):
        to_the_pixels_end = torch.tensor([0, 0, 1, 1])
        iou = float(box_iou(*(masks_to_boxes(some) + to_the_pixels_end for some in inside)))
    if iou < SAME_FRAME_IOU:
        raise ProductError(
            "The ground truth does not stand where the product stands in its photo (their boxes overlap by "
            f"{iou:.0%}): its vertices must be in world units, the long side of the product some 1.5, as "
            "docs/conventions.md says."
        )


def perceptual_scores(photo: Tensor, views: Tensor, encoders: Encoders) -> dict[str, float]:
    """CX, semantic similarity and MVC of views [N, 3, H, W] against the photo [3, H, W], named by encoder."""
    scores: dict[str, float] = {}
    with torch.no_grad():
        for encoder in encoders.images:
            embeddings = encoder.embed(torch.cat([photo[None], views]))
            scores[score_name("similarity", encoder)] = float(semantic_similarity(embeddings[0], embeddings[1:]))
            scores[score_name("mvc", encoder)] = float(multi_view_consistency(embeddings[1:]))
        for extractor in encoders.features:
            features = extractor.features(torch.cat([photo[None], views]))
            distances = [contextual_distance(view, features[0]) for view in features[1:]]
            scores[score_name("cx", extractor)] = float(torch.stack(distances).mean())
    return scores


def detail_scores(
    made: tuple[Tensor, Tensor], true: tuple[Tensor, Tensor], extractors: Sequence[LayeredExtractor]
) -> dict[str, float]:
    """What PSNR does not see, of unseen views: each pictures [N, 3, H, W] and opacities [N, 1, H, W]."""
    scores = {"sharpness": sharpness(made[0], true[0], made[1], true[1])}
    with torch.no_grad():
        for extractor in extractors:
            distance = feature_distance(extractor.layers(made[0]), extractor.layers(true[0]))
            scores[score_name("feature_distance", extractor)] = float(distance.mean())
    return scores


def janus_scores(
    photo: Tensor, backs: Tensor, true_backs: Tensor, encoders: Sequence[ImageEncoder]
) -> dict[str, float]:
    """How much more backs [N, 3, H, W] look like the photo [3, H, W] than the true ones do: well above 0 where a second
    front was painted there. None for a product without a view of its back.
    """
    scores: dict[str, float] = {}
    with torch.no_grad():
        for encoder in encoders if len(backs) else ():
            embeddings = encoder.embed(torch.cat([photo[None], backs, true_backs]))
            front, *others = embeddings.split([1, len(backs), len(backs)])
            made, true = (float(semantic_similarity(front[0], other)) for other in others)
            scores[score_name("janus", encoder)] = made - true
    return scores


def draw_field(field: OutlineField, cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor]:
    """Pictures on white [B, R, R, 3] and opacities [B, R, R] of a field."""
    image = field.seen_by(cameras, resolution, 4.0 / resolution)
    return on_background(image.colour, image.opacity, 1.0).clamp(0, 1).cpu(), image.opacity.cpu()


def _channels_first(pictures: Tensor) -> Tensor:
    return pictures.permute(0, 3, 1, 2).contiguous()


def _shape(mesh: TexturedMesh) -> Mesh:
    """The surface whole again where the texture's seams part it."""
    vertices, whole = torch.unique(torch.from_numpy(mesh.vertices), dim=0, return_inverse=True)
    return Mesh(vertices, whole[torch.from_numpy(mesh.faces).long()])


def surface_points(mesh: TexturedMesh, count: int) -> NDArray[np.floating]:
    """Points [count, 3] spread over a model's surface; the same ones each time."""
    return _points(_shape(mesh), count)


def _points(shape: Mesh, count: int) -> NDArray[np.floating]:
    """Points [count, 3] spread over the surface; the same ones each time."""
    return sample_surface(shape, count, torch.Generator().manual_seed(0))[0].numpy()
