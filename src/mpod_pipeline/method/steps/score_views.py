"""Score every model by its views alone."""

from __future__ import annotations

from typing import Any

import torch

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.comparison.views import ModelViews
from mpod_pipeline.method.cutouts import reference_view
from mpod_pipeline.method.evaluation import (
    Encoders,
    EvaluationParameters,
    check_frame,
    load_encoders,
    surface_points,
    view_scores,
)
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.steps.evaluate import read_truth
from mpod_pipeline.metrics.ground_truth import chamfer_distance

Settings = EvaluationParameters
load = load_encoders


def make(encoders: Encoders, given: Given) -> dict[str, Any]:
    views: ModelViews = given["views"]
    pictures, opacity = views.tensors()
    resolution = pictures.shape[1]
    photo = reference_view(given["photos"].front.picture, resolution)
    ground_truth, flags = read_truth(given["ground_truth"])
    seen = None
    if ground_truth is not None:
        true = draw(ground_truth, views.cameras, resolution)[:2]
        try:
            check_frame(true[1][:1], photo.mask)
            seen = true[0][1:], true[1][1:]
        except ProductError as error:
            ground_truth = None
            flags.append(f"ground truth not used: {error}")
    azimuths = torch.from_numpy(views.azimuth_deg[1:])
    front = pictures[:1], opacity[:1]
    scores = view_scores((pictures[1:], opacity[1:]), front, photo, azimuths, seen, encoders)
    if ground_truth is not None:
        scores["chamfer"] = chamfer_distance(views.points, surface_points(ground_truth, len(views.points)))
    return {"view_scores": {**scores, "flags": "; ".join(flags)}}
