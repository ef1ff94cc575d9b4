"""Stage 1 (paper section 3.1): the product's outline as a radiance field, led by Zero-1-to-3 and held by the photo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import ElevationRangeDeg, Parameters, Share, SizeParameters, Symmetry
from mpod_pipeline.base.report import Report
from mpod_pipeline.fields.hash_encoding import HashGridParameters
from mpod_pipeline.fields.outline_field import OutlineField, OutlineFieldParameters
from mpod_pipeline.method.cavities import (
    Cavities,
    CavityParameters,
    emptiness,
    find_cavities,
    inside_colour,
    shortfall,
    transparency,
)
from mpod_pipeline.method.cutouts import Cutouts, Reference, reference_view, turn_deg
from mpod_pipeline.method.further_photos import RESOLUTION, FurtherPhotos
from mpod_pipeline.method.guidance import regularisers
from mpod_pipeline.method.guidance.likeness import Likeness, LikenessEncoders, LikenessParameters
from mpod_pipeline.method.guidance.novel_view import NovelViewGuidance, NovelViewSds
from mpod_pipeline.method.guidance.photo_depth import PhotoDepth
from mpod_pipeline.method.guidance.regularisers import RegulariserParameters
from mpod_pipeline.method.guidance.shading import ShadingParameters, shown
from mpod_pipeline.method.guidance.text import TextGuidance, TextSds
from mpod_pipeline.method.masks import opacity_of
from mpod_pipeline.method.optimisation import Losses, LossPart, Optimisation
from mpod_pipeline.method.proportions import LOOKS, bring_to_depth, shows_depth
from mpod_pipeline.method.smoothness import NORMAL_STEP, colour_change, neighbours, normal_turn
from mpod_pipeline.method.symmetry import symmetry_loss
from mpod_pipeline.method.view_schedule import ViewParameters, drawn_views, further_of, is_due
from mpod_pipeline.method.visual_hull import core_of_hull
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior
from mpod_pipeline.priors.depth import DepthEstimator
from mpod_pipeline.priors.networks import threads_for
from mpod_pipeline.rendering.backend import Backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.volume import draw_jitter, make_volume_renderer, on_background
from mpod_pipeline.rendering.volume.interface import VolumeRenderer


class OutlineWeights(Parameters):
    """Factors of the losses; means over pixels."""

    colour: NonNegativeFloat = 400.0
    mask: NonNegativeFloat = 80.0
    normal_smoothness: NonNegativeFloat = Field(5.0, description="turn of the normal between near points")
    colour_smoothness: NonNegativeFloat = Field(3.0, description="change of the colour between near points")
    symmetry: NonNegativeFloat = Field(
        30.0, description="difference of the colour at a point that no photo shows from that at its counterpart"
    )
    emptiness: NonNegativeFloat = Field(5.0, description="density where the prior's views from above see through")
    transparency: NonNegativeFloat = Field(5.0, description="of the walls round what is empty")
    inside_colour: NonNegativeFloat = Field(
        50.0, description="difference of the walls' inside from the prior's views from above"
    )
    solidity: NonNegativeFloat = Field(
        1.0, description="density lacking deep within the silhouettes of photos, one from a side among them"
    )


#: A view turned further than this from the photo's shows the back, degrees.
BACK_DEG = 135.0
#: Within so many degrees of the photo are views "near" it.
NEAR_DEG = 45.0


class OutlineParameters(SizeParameters, ViewParameters):
    """Stage 1. Angles in degrees, lengths in world units."""

    steps: PositiveInt = 240
    field: OutlineFieldParameters = OutlineFieldParameters(
        hash_grid=HashGridParameters(levels=6, finest_resolution=96),
        blob_radius=0.85,
        # so few steps look at the grid twenty times: with Instant-NGP's decay they would long march through what is
        # carved away
        occupancy_threshold=2.0,
        occupancy_decay=0.5,
    )
    backend: Backend | None = Field(
        None, description="whose kernels render; null: numba on the CPU, torch on any other device"
    )
    resolutions: tuple[PositiveInt, ...] = Field(
        (48, 64), min_length=1, description="one after another, in equal shares of the steps"
    )
    step_size: PositiveFloat = 0.05
    table_learning_rate: PositiveFloat = 0.02
    network_learning_rate: PositiveFloat = 0.01
    adam_epsilon: PositiveFloat = Field(
        1e-5,
        description="gradients of the grid far below this move nothing. Inside a body there are no others: they would "
        "hollow it out, and it would sink in",
    )
    elevation_deg: ElevationRangeDeg = (-10.0, 50.0)
    absolute_elevation: bool = Field(
        False, description="the prior is Stable-Zero123, whose pose vector says the photo's own elevation"
    )
    symmetry: Symmetry = Field("none", description="of the product's shape, exactly; of its colours, softly")
    novel_views: PositiveInt = 1
    colours_choose_depths: bool = Field(
        False, description="whether density also learns where along a ray a colour should be, as a NeRF's does"
    )
    leave_out_below: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="a further photo is left out if its silhouette overlaps less than this with the outline's; the "
        "outline is then made again without it; 0: none is left out",
    )
    sds: NovelViewSds = Field(
        NovelViewSds(guidance_scale=2.5, weight=500.0),
        description="by Zero-1-to-3; its weight is divided by the number n of photos, and by up to n squared "
        "more the worse it foretells the further photos",
    )
    text: TextSds | None = Field(None, description="SDS by Stable Diffusion and the product's word (RealFusion)")
    likeness: LikenessParameters | None = Field(None, description="what an image encoder wants (Make-It-3D)")
    shading: ShadingParameters = ShadingParameters()
    regularisers: RegulariserParameters = RegulariserParameters()
    depth_network: Path | None = Field(
        None,
        description="transformers' folder of a network that guesses a photo's depths, for regularisers.depth; null: "
        "the novel-view prior's own",
    )
    near_first: Share = Field(0.0, description="of all steps, the first, in which novel views are near the photo's")
    sphere_share: Share = Field(0.0, description="of novel views that are drawn evenly over the sphere, not in height")
    coarse_levels: PositiveInt | None = Field(None, description="of the hash grid, those that count at first")
    coarse_first: Share = Field(0.0, description="of all steps, the first, in which these alone count")
    cavities: CavityParameters | None = Field(
        CavityParameters(), description="what is asked from above of how hollow things are; null: nothing"
    )
    weights: OutlineWeights = OutlineWeights()

    @property
    def asks_for_views(self) -> bool:
        """Whether Zero-1-to-3, or its depth network, is of use."""
        own_depth = self.regularisers.depth > 0 and self.depth_network is None
        return self.sds.weight > 0 or self.cavities is not None or own_depth


@dataclass(frozen=True)
class Outline:
    """What stage 1 makes. photos: all of them in the outline's frame, and in the front's light."""

    field: OutlineField
    photos: Cutouts


@dataclass(frozen=True)
class FurtherModels:
    """What may lead stage 1 beside Zero-1-to-3, as the parameters want it. token: the product's word, [D]."""

    text: TextToImagePrior | None = None
    token: Tensor | None = None
    encoders: LikenessEncoders | None = None
    depth: DepthEstimator | None = None


def optimize_outline(
    cutouts: Cutouts,
    prior: NovelViewPrior | None,
    parameters: OutlineParameters,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
    further_models: FurtherModels | None = None,
) -> Outline:
    """Fit a field to a product's photos: each from its own view (Eq. 2), the priors from all others (Eq. 1).

    Every step looks at the front, and at one of the further photos in turn. prior: None where the parameters have no
    use for it. Raises ProductError where the optimisation diverges.
    """
    p = parameters
    generator = torch.Generator().manual_seed(seed)
    guides = OutlineGuides.of(cutouts, prior, further_models or FurtherModels(), p)
    device = guides.device
    field = OutlineField(p.field.model_copy(update={"symmetry": p.symmetry}), p.backend, device, seed=seed)
    renderer = make_volume_renderer(field.backend)
    cavities = None
    if p.cavities and prior:
        front_picture = reference_view(cutouts.front.picture, prior.image_size).picture
        cavities = find_cavities(front_picture, prior, cutouts.front.elevation_deg, p.field.bound, p.cavities, seed)
    references = {r: reference_view(cutouts.front.picture, r) for r in set(p.resolutions)}
    further = FurtherPhotos(cutouts).to(device)
    wants_core, core = p.weights.solidity > 0 and shows_depth(cutouts), None

    def losses_of(step: int) -> list[LossPart]:
        nonlocal core
        resolution = p.resolutions[step * len(p.resolutions) // p.steps]
        progress = step / p.steps
        field.use_levels(p.coarse_levels if progress < p.coarse_first else None)
        field.occupancy.update(step, field.density, generator=generator)
        if moved := further.due(step, p.steps):
            further.look(lambda cameras: opacity_of(field, cameras, RESOLUTION, 4.0 / RESOLUTION))
        if wants_core and further.looked(step, p.steps) and (moved or core is None):
            core = core_of_hull(further.framed(cutouts.front), p.field.bound, cavities.empty if cavities else None)
        if p.wanted_depth and is_due(step, p.steps, LOOKS) and not shows_depth(cutouts):
            bring_to_depth(field, *p.wanted_depth)
        with_photo, with_prior = drawn_views(p, step, p.steps, generator)
        front = [cutouts.front.camera] if with_photo else []
        others = [photo - 1 for photo in further_of(step, len(cutouts.photos))] if with_photo else []
        beside = [further.camera(other) for other in others]
        novel = [novel_cameras(p, generator, progress)] if with_prior else []
        # All views at once: a step's cost is in its calls as much as in its rays.
        seen = render(field, Cameras.joined([*front, *beside, *novel]).to(device), resolution, renderer, p, generator)
        losses: dict[str, Tensor] = {}
        if with_photo:
            losses |= reference_losses(seen[:1], references[resolution], p.weights)
            losses |= guides.depth_losses(seen[:1], cutouts.front.camera, p)
        for other in others:
            losses |= further_losses(seen[1:2], further, other, resolution, p.weights)
        views = seen[len(front) + len(beside) :]
        if with_prior:
            losses |= novel_view_losses(field, views, novel[0].to(device), guides, progress, p, generator)

        def at_points() -> Losses:
            losses: Losses = {}
            if with_prior:
                losses |= smoothness_losses(field, views.surface, p.weights, generator)
            if with_prior and p.symmetry != "none":
                losses["symmetry"] = p.weights.symmetry * symmetry_loss(field, views.surface, cutouts, generator)
            if core is not None and len(core):
                losses["solidity"] = p.weights.solidity * shortfall(field, core, generator).mean()
            if cavities:
                losses |= cavity_losses(field, cavities, p.weights, generator)
            return losses

        return [lambda: losses, at_points]

    both = torch.nn.ModuleList([field, further])
    optimizer = make_optimizer(field, further, p)
    optimisation = Optimisation("The outline's optimisation", both, optimizer, generator, p.steps)
    with threads_for(prior, further_models.text if further_models else None):
        optimisation.run(losses_of, report, checkpoint)
    if misfits := further.misfits(p.leave_out_below):
        used = cutouts.without(misfits)  # without a checkpoint: that of this run has their cameras in it
        return optimize_outline(used, prior, parameters, seed, report, further_models=further_models)
    if p.wanted_depth and not shows_depth(cutouts):
        bring_to_depth(field, *p.wanted_depth)
    field.use_levels(None)
    field.occupancy.update(0, field.density, generator=generator)
    return Outline(field, further.aligned(cutouts.front))


@dataclass(frozen=True)
class OutlineGuides:
    """What leads stage 1 beside the photos themselves; None is not asked."""

    device: torch.device
    novel_view: NovelViewGuidance | None
    text: TextGuidance | None
    likeness: Likeness | None
    depth: PhotoDepth | None

    @classmethod
    def of(
        cls, photos: Cutouts, prior: NovelViewPrior | None, further: FurtherModels, p: OutlineParameters
    ) -> OutlineGuides:
        """Raises SetupError where no model is given that the parameters ask for."""
        some_prior = prior or further.text
        if some_prior is None:
            raise SetupError("Stage 1 needs a prior: give outline.sds a weight, or set outline.text.")
        device = some_prior.device
        text = likeness = depth = None
        if p.text:
            if further.text is None or further.token is None:
                raise SetupError("outline.text is set, but no text prior and word were given.")
            text = TextGuidance.of(further.text, further.token, p.text)
        if p.likeness:
            if further.encoders is None:
                raise SetupError("outline.likeness is set, but no image encoders were given.")
            likeness = Likeness.of(further.encoders, photos, p.likeness)
        if p.regularisers.depth:
            if further.depth is None:
                raise SetupError("outline.regularisers.depth is set, but no depth network was given.")
            depth = PhotoDepth.of(further.depth, photos.front)
        asked = prior is not None and p.sds.weight > 0
        return cls(device, NovelViewGuidance.of(prior, photos) if prior and asked else None, text, likeness, depth)

    def depth_losses(self, seen: Views, camera: Cameras, p: OutlineParameters) -> dict[str, Tensor]:
        """Of the photo's own view."""
        loss = self.depth.disagreement(seen.depth[0], seen.opacity[0]) if self.depth else None
        return {} if loss is None else {"depth": p.regularisers.depth * loss}


def make_optimizer(field: OutlineField, further: FurtherPhotos, p: OutlineParameters) -> torch.optim.Optimizer:
    groups = [
        {"params": list(field.encoding.parameters()), "lr": p.table_learning_rate, "eps": p.adam_epsilon},
        {"params": list(field.network.parameters()), "lr": p.network_learning_rate, "eps": 1e-15},
        {"params": [further.log_gain], "lr": p.network_learning_rate, "eps": 1e-15},
    ]
    return torch.optim.Adam(groups, betas=(0.9, 0.99), fused=True)


def novel_cameras(p: OutlineParameters, generator: torch.Generator, progress: float = 1.0) -> Cameras:
    """Novel views: azimuths stratified round the circle, or near the photo's at first; elevations uniform, or those of
    places that are even over the sphere.
    """
    n = p.novel_views
    azimuth = (torch.arange(n) + torch.rand(n, generator=generator)) / n * 360
    azimuth = azimuth + torch.rand((), generator=generator) * 360
    if progress < p.near_first:
        azimuth = (azimuth % 360 / 180 - 1) * NEAR_DEG
    low, high = p.elevation_deg
    height = torch.rand(n, generator=generator)
    if p.sphere_share and float(torch.rand((), generator=generator)) < p.sphere_share:
        bottom, top = torch.tensor([low, high]).deg2rad().sin()
        return Cameras.at(azimuth, (bottom + (top - bottom) * height).arcsin().rad2deg())
    return Cameras.at(azimuth, low + (high - low) * height)


@dataclass(frozen=True)
class Views:
    """What cameras saw."""

    pictures: Tensor  # [B, R, R, 3] on white
    opacity: Tensor  # [B, R, R]
    points: Tensor  # [B, R, R, 3], where rays that hit something did so in the mean; no gradient
    depth: Tensor  # [B, R, R], mean distance along the viewing direction

    def __getitem__(self, views: slice) -> Views:
        return Views(self.pictures[views], self.opacity[views], self.points[views], self.depth[views])

    @property
    def surface(self) -> Tensor:
        """The points of the rays that hit something, [M, 3]."""
        return self.points[self.opacity.detach() > 0.5]


def render(
    field: OutlineField,
    cameras: Cameras,
    resolution: int,
    renderer: VolumeRenderer,
    p: OutlineParameters,
    generator: torch.Generator,
) -> Views:
    """What cameras see of the field along jittered rays, with gradients.

    Unless colours choose depths, the density's gradient is that of a silhouette: a ray sees more or less of the mean
    colour along it, before white. With a prior that is vague about depth the other part of the gradient is noise.
    """
    rays_o, rays_d = (rays.reshape(-1, 3).contiguous() for rays in cameras.rays(resolution, resolution))
    samples = renderer.march(rays_o, rays_d, field.occupancy, p.step_size, draw_jitter(rays_o, generator))
    density, colour = field(samples.points(rays_o, rays_d))
    if p.colours_choose_depths:
        out = renderer.composite(density, colour, samples)
        painted = out.colour
    else:
        out = renderer.composite(density, colour.detach(), samples)
        painted = renderer.composite(density.detach(), colour, samples).colour
        mean_colour = out.colour.detach() / out.opacity.detach().clamp_min(1e-3)[:, None]
        painted = painted + (out.opacity - out.opacity.detach())[:, None] * mean_colour
    shape = (len(cameras), resolution, resolution)
    return Views(
        on_background(painted, out.opacity, 1.0).view(*shape, 3),
        out.opacity.view(shape),
        (rays_o + rays_d * out.depth.detach()[:, None]).view(*shape, 3),
        out.depth.view(shape) * (rays_d.view(*shape, 3) * cameras.basis[3][:, None, None]).sum(dim=-1),
    )


def reference_losses(seen: Views, reference: Reference, weights: OutlineWeights) -> dict[str, Tensor]:
    """``L_ref`` (Eq. 2) on colours over white, and the same on the mask, of the one view that is the photo's."""
    target = reference.picture.permute(1, 2, 0).to(seen.pictures)
    return {
        "reference_colour": weights.colour * (seen.pictures[0] - target).square().mean(),
        "reference_mask": weights.mask * (seen.opacity[0] - reference.mask.to(seen.opacity)).square().mean(),
    }


def further_losses(
    seen: Views, further: FurtherPhotos, index: int, resolution: int, weights: OutlineWeights
) -> dict[str, Tensor]:
    """``L_ref`` of one of the further photos, in its own light."""
    background = 1 - seen.opacity[..., None]
    lit = replace(seen, pictures=(seen.pictures - background) * further.gain(index) + background)
    losses = reference_losses(lit, further.reference(index, resolution), weights)
    colour = losses["reference_colour"] + further.gain_loss(index)
    return {"further_colour": colour, "further_mask": losses["reference_mask"]}


def novel_view_losses(
    field: OutlineField,
    seen: Views,
    cameras: Cameras,
    guides: OutlineGuides,
    progress: float,
    p: OutlineParameters,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """What the priors want of what novel views see (Eq. 1), and the regularisers."""

    def normals() -> Tensor:
        return surface_normals(field, seen)

    losses: dict[str, Tensor] = {}
    pictures = seen.pictures
    if p.shading.wanted:
        pictures = shown(pictures, seen.opacity, normals(), cameras, p.shading, progress, generator)
    if guides.novel_view:
        losses["sds"] = guides.novel_view.loss(pictures, cameras, p.sds, progress, generator)
    if guides.text and p.text and progress >= p.text.after:
        predict = guides.text.predictor(cameras, p.text.guidance_scale)
        # the back is not to be like the photo
        front = guides.likeness if float(turn_deg(cameras.azimuth_deg, 0.0).max()) < BACK_DEG else None
        losses["text_sds"] = guides.text.loss(pictures, predict, p.text, progress, generator, front)
    if guides.likeness:
        losses["likeness"] = guides.likeness.of_views(seen.pictures)
    if p.regularisers.wanted:
        losses |= regularisers.view_losses(seen.opacity, normals, cameras, p.regularisers, progress)
    return losses


def surface_normals(field: OutlineField, seen: Views) -> Tensor:
    """The field's normals where rays hit something, 0 elsewhere: [B, R, R, 3], with a gradient to density alone."""
    there = seen.opacity.detach() > 0.5
    normals = torch.zeros_like(seen.points)
    if there.any():
        normals[there] = field.normals(seen.points[there], NORMAL_STEP)
    return normals


def smoothness_losses(
    field: OutlineField, surface: Tensor, weights: OutlineWeights, generator: torch.Generator
) -> dict[str, Tensor]:
    """The smoothness of normals and colours at the surface [M, 3]; none where nothing is seen."""
    if len(surface) == 0:
        return {}
    here, near = neighbours(surface, generator)
    return {
        "normal_smoothness": weights.normal_smoothness * normal_turn(field, here, near),
        "colour_smoothness": weights.colour_smoothness * colour_change(field, here, near),
    }


def cavity_losses(
    field: OutlineField, cavities: Cavities, weights: OutlineWeights, generator: torch.Generator
) -> dict[str, Tensor]:
    """That cavities are empty, and have walls that look right; none for a product that has no cavity."""
    losses: dict[str, Tensor] = {}
    if len(cavities.empty):
        losses["emptiness"] = weights.emptiness * emptiness(field, cavities.empty, generator)
    if len(cavities.walls):
        losses["transparency"] = weights.transparency * transparency(field, cavities.walls, generator)
    if len(cavities.inside) and weights.inside_colour:
        losses["inside_colour"] = weights.inside_colour * inside_colour(field, cavities, generator)
    return losses
