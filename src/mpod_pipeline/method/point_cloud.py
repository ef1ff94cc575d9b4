"""Stage 2 as Make-It-3D has it: points in place of a mesh, and a network that draws them, led by photo and priors."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.report import Report
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.fields.point_cloud import PointCloud
from mpod_pipeline.method.cutouts import Cutouts, reference_view
from mpod_pipeline.method.detail import DetailGuides, DetailParameters, FurtherGuides, refine_detail
from mpod_pipeline.method.masks import OutlineMasks
from mpod_pipeline.method.optimisation import Optimisation
from mpod_pipeline.method.view_schedule import drawn_views, further_of
from mpod_pipeline.method.visible_points import visible_points
from mpod_pipeline.priors import TextToImagePrior
from mpod_pipeline.rendering.cameras import Cameras


def refine_points(
    photos: Cutouts,
    token: Tensor | None,
    field: OutlineField,
    masks: OutlineMasks,
    prior: TextToImagePrior | None,
    parameters: DetailParameters,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
    further: FurtherGuides | None = None,
) -> PaintedSurface:
    """Turn the outline into points, and refine their colours and the network that draws them. Positions stay.

    Arguments as of `refine_detail`. Gives the outline's own surface, which a file can hold, with the points beside it.

    Raises ProductError where the outline has no surface, or the optimisation diverges.
    """
    p = parameters
    generator = torch.Generator().manual_seed(seed)
    surface = refine_detail(photos, token, field, masks, prior, p, seed, report, further=further)
    guides = DetailGuides.of(prior, token, p, photos, further or FurtherGuides())
    field = field.on(surface.vertices.device)
    step_size = 4.0 / p.outline_resolution
    visible = visible_points(field, photos.front, p.resolution, step_size, p.points, generator)
    cloud = PointCloud(visible.positions, visible.colours, p.resolution, seed=seed)
    references = [reference_view(photo.picture, p.resolution).picture.permute(1, 2, 0) for photo in photos.photos]
    groups = [
        {"params": [cloud.colours, cloud.features], "lr": p.table_learning_rate},
        {"params": list(cloud.renderer.parameters()), "lr": p.network_learning_rate},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)
    hold = torch.where(visible.of_photo, p.points.hold_photo, p.points.hold_others)[:, None]

    def losses_of(step: int) -> dict[str, Tensor]:
        from_photo, with_prior = drawn_views(p, step, p.steps, generator)
        losses: dict[str, Tensor] = {}
        for shown in [0, *further_of(step, len(references))] if from_photo else []:
            pictures, _ = cloud(photos.cameras[shown])
            difference = (pictures[0] - references[shown].to(pictures)).abs().mean()
            losses["further_colour" if shown else "reference_colour"] = p.points.colour * difference
        if with_prior:
            cameras = novel_cameras(photos, p, generator)
            losses |= novel_view_losses(cloud(cameras)[0], cameras, guides, step / p.steps, generator)
        losses["point_colours"] = (hold * (cloud.colours - visible.colours).square()).mean()
        return losses

    Optimisation("Refining the points", cloud, optimizer, generator, p.steps).run(losses_of, report, checkpoint)
    return replace(surface, points=cloud)


def novel_cameras(photos: Cutouts, p: DetailParameters, generator: torch.Generator) -> Cameras:
    """Views from all round, at the heights from which the points were seen."""
    azimuth, height = torch.rand(2, p.novel_views, generator=generator)
    low, high = p.points.raised_deg
    return Cameras.at(azimuth * 360, photos.front.elevation_deg + low + (high - low) * height)


def novel_view_losses(
    pictures: Tensor, cameras: Cameras, guides: DetailGuides, progress: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """What Stable Diffusion and the image encoders want of pictures [B, R, R, 3] of novel views."""
    p = guides.p
    losses: dict[str, Tensor] = {}
    if guides.text and p.sds.weight:
        predict = guides.text.predictor(cameras, p.sds.guidance_scale)
        losses["sds"] = guides.text.loss(pictures, predict, p.sds, progress, generator, guides.likeness)
    if guides.likeness:
        losses["likeness"] = guides.likeness.of_views(pictures)
    return losses
