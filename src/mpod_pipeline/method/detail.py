"""Stage 2 (paper section 3.3): details on a mesh by the photo, the outline's masks and Stable Diffusion with MRCA."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import ControlNetModel
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator
from torch import Tensor
from torch.nn.functional import normalize
from typing_extensions import Self

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.base.report import Report
from mpod_pipeline.base.threads import on_pytorchs_threads
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.geometry.dmtet import LEAST_PIECE, DMTet
from mpod_pipeline.geometry.mesh import Mesh, keep_large_components
from mpod_pipeline.geometry.regularisers import laplacian, mask_loss, normal_consistency
from mpod_pipeline.method.cutouts import Cutouts, Reference, reference_view
from mpod_pipeline.method.guidance import regularisers
from mpod_pipeline.method.guidance.likeness import Likeness, LikenessEncoders, LikenessParameters
from mpod_pipeline.method.guidance.novel_view import NovelViewGuidance, NovelViewSds
from mpod_pipeline.method.guidance.regularisers import RegulariserParameters
from mpod_pipeline.method.guidance.shading import ShadingParameters, shown
from mpod_pipeline.method.guidance.text import PromptParameters, TextGuidance
from mpod_pipeline.method.inpainting import InpaintedViews, InpaintingParameters, painted_over, target_losses
from mpod_pipeline.method.masks import OutlineMasks
from mpod_pipeline.method.optimisation import Optimisation
from mpod_pipeline.method.outline_colours import OutlineColours
from mpod_pipeline.method.smoothness import colour_change, neighbours
from mpod_pipeline.method.view_schedule import ViewParameters, drawn_views, further_of
from mpod_pipeline.method.visible_points import CloudParameters
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior
from mpod_pipeline.priors.controlnet import MaskControl
from mpod_pipeline.priors.mrca import TokenMask
from mpod_pipeline.priors.networks import threads_for
from mpod_pipeline.priors.schedule import Predict
from mpod_pipeline.priors.sds import SdsParameters
from mpod_pipeline.priors.text_to_image import Prompt
from mpod_pipeline.rendering.backend import Backend, choose_backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize

#: Settings that stood here before, and where they are now.
MOVED = {
    **{name: f"export.{name}" for name in ("long_side_m", "triangles", "texture_size")},
    "shaded_probability": "detail.shading.lambertian",
}


class DetailWeights(Parameters):
    """Factors of the losses; means over pixels, edges or vertices."""

    colour: NonNegativeFloat = 400.0
    mask: NonNegativeFloat = 80.0
    novel_view_mask: NonNegativeFloat = Field(80.0, description="L_nvm, Eq. 9")
    outline_colour: NonNegativeFloat = Field(
        20.0, description="the texture's difference from the colours with which stage 1's field is seen"
    )
    colour_smoothness: NonNegativeFloat = Field(3.0, description="change of the colour between near points")
    normal_consistency: NonNegativeFloat = 50.0
    laplacian: NonNegativeFloat = 3000.0


class PointParameters(CloudParameters):
    """The points, and factors of their losses; means over pixels or points."""

    colour: NonNegativeFloat = Field(1000.0, description="absolute difference from the photo")
    hold_photo: NonNegativeFloat = Field(1e5, description="squared change of the colours that the photo gave")
    hold_others: NonNegativeFloat = Field(1e3, description="the same of all other points")


class DetailParameters(PromptParameters, ViewParameters):
    """Stage 2. Angles in degrees, lengths in world units."""

    second_stage: Literal["mesh", "points", "none"] = Field(
        "mesh",
        description="what is refined: a mesh, or points and the network that draws them (Make-It-3D); if nothing, the "
        "outline's surface is the model",
    )
    steps: PositiveInt = 80
    backend: Backend | None = Field(
        None, description="whose kernels draw meshes; null: numba on the CPU, torch on any other device"
    )
    grid_resolution: PositiveInt = 56
    resolution: PositiveInt = 128
    outline_resolution: PositiveInt = Field(
        96, description="of the views of stage 1's colours, which march 4 world units in as many steps"
    )
    sdf_learning_rate: PositiveFloat = 2e-3
    table_learning_rate: PositiveFloat = 0.005
    network_learning_rate: PositiveFloat = 1e-3
    novel_views: PositiveInt = Field(1, description="per iteration; at most as many as masks were exported")
    sds: SdsParameters = Field(
        SdsParameters(guidance_scale=5.0, start=(0.02, 0.5), end=(0.02, 0.3), weight=0.0),
        description="by Stable Diffusion and the product's word",
    )
    novel_view: NovelViewSds | None = Field(None, description="SDS by Zero-1-to-3, too (Magic123)")
    absolute_elevation: bool = Field(False, description="as that of stage 1, for this Zero-1-to-3")
    likeness: LikenessParameters | None = Field(None, description="what an image encoder wants (Make-It-3D)")
    shading: ShadingParameters = Field(
        ShadingParameters(), description="how SDS sees the novel views: shaded, it moves the surface"
    )
    regularisers: RegulariserParameters = RegulariserParameters()
    inpainting: InpaintingParameters = InpaintingParameters()
    mask_guidance: Literal["mrca", "controlnet", "none"] = Field(
        "mrca", description="how Stable Diffusion is told of the outline: by MRCA (Eq. 8), a ControlNet, not at all"
    )
    controlnet: Path | None = Field(None, description="the ControlNet's folder, for mask_guidance 'controlnet'")
    masked_columns: Literal["token", "token_and_after"] = "token"
    weights: DetailWeights = DetailWeights()
    points: PointParameters = Field(PointParameters(), description="in place of the weights, where points are refined")

    @model_validator(mode="before")
    @classmethod
    def _some_have_moved(cls, values: Any) -> Any:
        if isinstance(values, dict) and (moved := sorted(MOVED.keys() & values.keys())):
            raise ValueError(f"detail.{moved[0]} has moved: set {MOVED[moved[0]]}")
        return values

    @model_validator(mode="after")
    def _controlnet_has_weights(self) -> Self:
        if self.mask_guidance == "controlnet" and self.controlnet is None:
            raise ValueError("mask_guidance 'controlnet' needs its weights: set controlnet to their folder")
        return self

    @model_validator(mode="after")
    def _a_mesh_has_no_prior_of_depth(self) -> Self:
        if self.regularisers.depth:
            raise ValueError("regularisers.depth is of stage 1: set outline.regularisers.depth")
        return self

    @model_validator(mode="after")
    def _points_are_led_by_words_and_likeness(self) -> Self:
        others = self.novel_view, self.inpainting.wanted, self.shading.wanted, self.regularisers.wanted
        if self.second_stage == "points" and (any(others) or self.mask_guidance != "none"):
            raise ValueError(
                "points are refined by sds and likeness alone: novel_view, inpainting, shading, regularisers and "
                "mask_guidance are for second_stage 'mesh'"
            )
        if self.second_stage == "points" and self.resolution % 4:
            raise ValueError("points are drawn at three scales: resolution must be a multiple of 4")
        return self

    @property
    def asks_with_words(self) -> bool:
        """Whether the product's word and Stable Diffusion are of use."""
        return self.second_stage != "none" and (self.sds.weight > 0 or self.inpainting.wanted)

    @property
    def asks_for_views(self) -> bool:
        """Whether Zero-1-to-3 is of use."""
        return self.second_stage != "none" and self.novel_view is not None


@dataclass(frozen=True)
class FurtherGuides:
    """What may lead stage 2 beside Stable Diffusion and the word, as the parameters want it.

    controlnet: see `load_mask_controlnet`.
    """

    controlnet: ControlNetModel | None = None
    novel_view: NovelViewPrior | None = None
    encoders: LikenessEncoders | None = None


def refine_detail(
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
    """Turn the outline into a mesh, and refine its shape and colours. Every step looks at the front, and at one of the
    further photos in turn.

    token, prior: None where the parameters have no use for them.

    Raises ProductError where the outline has no surface, or the optimisation diverges or loses it.
    """
    p = parameters
    generator = torch.Generator().manual_seed(seed)
    further = further or FurtherGuides()
    some_prior = prior or further.novel_view
    device = some_prior.device if some_prior else field.device
    field = field.on(device)
    shape = start_shape(field, masks, p)
    cameras = mask_views(masks).to(device), photos.cameras
    outline_colours = OutlineColours.of(field, shape.mesh().detach(), *cameras, p.outline_resolution, shape.backend)
    texture = outline_colours.start_texture(field, generator)
    if p.second_stage != "mesh":
        return whole_surface(shape, texture)
    groups = [
        {"params": list(shape.parameters()), "lr": p.sdf_learning_rate},
        {"params": list(texture.encoding.parameters()), "lr": p.table_learning_rate},
        {"params": list(texture.network.parameters()), "lr": p.network_learning_rate},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99), eps=1e-15, fused=True)
    guides = DetailGuides.of(prior, token, p, photos, further)
    painted = InpaintedViews(p.inpainting, len(masks.mask), p.resolution).to(device)
    features = load_efficientnet_lite0(device, p.resolution) if p.inpainting.features else None
    references = [reference_view(photo.picture, p.resolution) for photo in photos.photos]

    def losses_of(step: int) -> dict[str, Tensor]:
        mesh = shape.mesh()
        if p.inpainting.wanted and painted.due(step):
            paint_views(painted, mesh, texture, masks, guides, generator)
        from_photo, with_prior = drawn_views(p, step, p.steps, generator)
        shown = [0, *further_of(step, len(references))] if from_photo else []
        novel, targets = None, None
        if with_prior and p.inpainting.wanted:
            drawn = painted.drawn(p.novel_views, generator)
            novel, targets = masks[painted.view[drawn].numpy()], painted.pictures[drawn]
        elif with_prior:
            novel = draw_masks(masks, p.novel_views, generator)
        cameras = [photos.cameras[i] for i in shown] + ([mask_views(novel)] if novel else [])
        seen = render(mesh, texture, Cameras.joined(cameras).to(device), p)
        losses: dict[str, Tensor] = {}
        for place, photo in enumerate(shown):
            of_photo = reference_losses(seen[place : place + 1], references[photo], p.weights)
            losses |= {name if photo == 0 else f"further_{name}": loss for name, loss in of_photo.items()}
        if novel:
            views = seen[len(shown) :]
            losses |= novel_view_losses(texture, views, novel, guides, step / p.steps, generator)
            unseen = novel.unseen_by(photos)
            if targets is not None and unseen.any():  # what a photo shows, it shows better
                losses |= target_losses(views.pictures[unseen], targets[unseen], features, p.inpainting)
        if p.weights.outline_colour:
            losses["outline_colour"] = p.weights.outline_colour * outline_colours.difference(texture, generator)
        losses["normal_consistency"] = p.weights.normal_consistency * normal_consistency(mesh)
        losses["laplacian"] = p.weights.laplacian * laplacian(mesh)
        return losses

    both = torch.nn.ModuleList([shape, texture, painted])
    with threads_for(prior, further.novel_view):
        Optimisation("Refining the details", both, optimizer, generator, p.steps).run(losses_of, report, checkpoint)
    return whole_surface(shape, texture)


@torch.no_grad()
def whole_surface(shape: DMTet, texture: OutlineField) -> PaintedSurface:
    """The shape as it is, without crumbs."""
    mesh = keep_large_components(shape.mesh().detach(), LEAST_PIECE)
    return PaintedSurface(mesh.vertices, mesh.faces, texture)


def start_shape(field: OutlineField, masks: OutlineMasks, p: DetailParameters) -> DMTet:
    """DMTet from the outline's density, at the level whose silhouettes are the masks'. Raises ProductError if empty."""
    density, backend = (field.density, field.settings.bound, p.grid_resolution), choose_backend(p.backend, field.device)
    seen = torch.from_numpy(masks.mask.astype(np.float32)).to(field.device)
    return DMTet.from_density(*density, masks=seen, cameras=mask_views(masks), backend=backend)


def mask_views(masks: OutlineMasks) -> Cameras:
    """The cameras that the outline's masks were exported from."""
    return Cameras.at(torch.from_numpy(masks.azimuth_deg), torch.from_numpy(masks.elevation_deg))


def draw_masks(masks: OutlineMasks, count: int, generator: torch.Generator) -> OutlineMasks:
    """So many of the masks, at random."""
    view = torch.randperm(len(masks.azimuth_deg), generator=generator)[:count].numpy()
    return masks[view]


@dataclass(frozen=True)
class Views:
    """What cameras saw."""

    pictures: Tensor  # [B, R, R, 3] on white
    opacity: Tensor  # [B, R, R], soft at silhouettes
    points: Tensor  # [B, R, R, 3] of the surface, where opacity is above 0; no gradient
    normals: Tensor  # [B, R, R, 3] of the surface, unit, 0 where there is none

    def __getitem__(self, views: slice) -> Views:
        return Views(self.pictures[views], self.opacity[views], self.points[views], self.normals[views])

    @property
    def surface(self) -> Tensor:
        """The points of the surface that are seen, [M, 3]."""
        return self.points[self.opacity.detach() > 0]


def render(mesh: Mesh, texture: OutlineField, cameras: Cameras, p: DetailParameters) -> Views:
    """What cameras see of the mesh, with gradients.

    Colour is asked where the surface is, without a gradient to where: silhouettes and normals move the shape, pixels
    paint it.
    """
    backend = choose_backend(p.backend, texture.device)
    attributes = torch.cat([mesh.vertices.detach(), mesh.vertex_normals()], dim=1)
    raster = rasterize(mesh.vertices, mesh.faces, attributes, cameras, p.resolution, backend)
    points, normals = raster.attributes.split(3, dim=-1)
    seen = raster.opacity.detach() > 0
    colour = torch.ones_like(points)
    colour[seen] = texture.colour(points[seen].detach())
    opacity = raster.opacity
    pictures = colour * opacity[..., None] + 1 - opacity[..., None]
    return Views(pictures, opacity, points.detach(), normalize(normals, dim=-1, eps=1e-6))


def reference_losses(seen: Views, reference: Reference, weights: DetailWeights) -> dict[str, Tensor]:
    """``L_ref`` (Eq. 2) on colours over white, and on the mask, of the one view that is the photo's."""
    target = reference.picture.permute(1, 2, 0).to(seen.pictures)
    return {
        "reference_colour": weights.colour * (seen.pictures[0] - target).square().mean(),
        "reference_mask": weights.mask * mask_loss(seen.opacity, reference.mask[None].to(seen.opacity)),
    }


@dataclass(frozen=True)
class DetailGuides:
    """What leads stage 2 beside the photos themselves; None is not asked."""

    p: DetailParameters
    text: TextGuidance | None = None
    controlnet: ControlNetModel | None = None
    novel_view: NovelViewGuidance | None = None
    likeness: Likeness | None = None

    @classmethod
    def of(
        cls,
        prior: TextToImagePrior | None,
        token: Tensor | None,
        p: DetailParameters,
        photos: Cutouts,
        further: FurtherGuides,
    ) -> DetailGuides:
        """For a product's token [D]. Raises SetupError where no model is given that the parameters ask for."""
        text = novel_view = likeness = None
        if p.asks_with_words:
            if prior is None or token is None:
                raise SetupError("detail.sds or detail.inpainting asks Stable Diffusion, which was not given.")
            text = TextGuidance.of(prior, token, p)
        if p.mask_guidance == "controlnet" and further.controlnet is None:
            raise SetupError("mask_guidance 'controlnet' was chosen, but its network was not loaded.")
        if p.novel_view:
            if further.novel_view is None:
                raise SetupError("detail.novel_view asks Zero-1-to-3, which was not given.")
            novel_view = NovelViewGuidance.of(further.novel_view, photos)
        if p.likeness:
            if further.encoders is None:
                raise SetupError("detail.likeness is set, but no image encoders were given.")
            likeness = Likeness.of(further.encoders, photos, p.likeness)
        return cls(p, text, further.controlnet, novel_view, likeness)

    def predictor(self, masks: OutlineMasks, guidance_scale: float) -> Predict:
        """Stable Diffusion's guided prediction for pictures of the views that masks were exported of."""
        if self.text is None:
            raise SetupError("Stable Diffusion is asked for pictures, but was not given.")
        inside = torch.from_numpy(masks.mask)[:, None].to(self.text.prior.device, torch.float32)
        cameras = mask_views(masks)
        token_mask, control = None, None
        if self.p.mask_guidance == "mrca":
            token_mask = TokenMask(inside, rectified_columns(self.text.prompts_of(cameras)[0], self.p))
        elif self.p.mask_guidance == "controlnet" and self.controlnet is not None:
            control = MaskControl.of(self.controlnet, inside, self.text.prior.image_size)
        return self.text.predictor(cameras, guidance_scale, token_mask, control)


def paint_views(
    painted: InpaintedViews,
    mesh: Mesh,
    texture: OutlineField,
    masks: OutlineMasks,
    guides: DetailGuides,
    generator: torch.Generator,
) -> None:
    """Let some of the masks' views, drawn anew, have new targets: what is painted over the mesh as they see it."""
    p = guides.p
    view = torch.randperm(len(masks.mask), generator=generator)[: len(painted.view)]
    chosen = masks[view.numpy()]
    with torch.no_grad():
        seen = render(mesh, texture, mask_views(chosen).to(mesh.vertices.device), p)
    outline = resized_masks(chosen, p.resolution).to(seen.opacity)
    predict = guides.predictor(chosen, p.inpainting.guidance_scale)
    pictures = seen.pictures.permute(0, 3, 1, 2)
    if guides.text:
        prior = guides.text.prior
        with on_pytorchs_threads():
            made = painted_over(pictures, outline[:, None], prior, predict, p.inpainting, generator)
        painted.renew(view, made)


def resized_masks(masks: OutlineMasks, resolution: int) -> Tensor:
    """The masks as a picture of that size would cover its pixels, [N, R, R] in [0, 1]."""
    outline = torch.from_numpy(masks.mask.astype(np.float32))
    return torch.nn.functional.interpolate(outline[:, None], (resolution, resolution), mode="area")[:, 0]


def novel_view_losses(
    texture: OutlineField,
    seen: Views,
    masks: OutlineMasks,
    guides: DetailGuides,
    progress: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """``L_nvm`` (Eq. 9) and what the priors want, as detail appearance inpainting (SDS with MRCA), of views that masks
    were exported of.
    """
    p = guides.p
    losses: dict[str, Tensor] = {}
    if p.weights.novel_view_mask:
        target = resized_masks(masks, p.resolution).to(seen.opacity)
        losses["novel_view_mask"] = p.weights.novel_view_mask * mask_loss(seen.opacity, target)
    cameras = mask_views(masks).to(seen.pictures.device)
    if p.sds.weight or guides.novel_view:
        pictures = shown(seen.pictures, seen.opacity, seen.normals, cameras, p.shading, progress, generator)
        if p.sds.weight and guides.text:
            predict = guides.predictor(masks, p.sds.guidance_scale)
            losses["sds"] = guides.text.loss(pictures, predict, p.sds, progress, generator, guides.likeness)
        if guides.novel_view and p.novel_view:
            losses["novel_view_sds"] = guides.novel_view.loss(pictures, cameras, p.novel_view, progress, generator)
    if guides.likeness:
        losses["likeness"] = guides.likeness.of_views(seen.pictures)
    if p.regularisers.wanted:
        losses |= regularisers.view_losses(seen.opacity, lambda: seen.normals, cameras, p.regularisers, progress)
    if len(seen.surface):
        change = colour_change(texture, *neighbours(seen.surface, generator))
        losses["colour_smoothness"] = p.weights.colour_smoothness * change
    return losses


def rectified_columns(prompt: Prompt, p: DetailParameters) -> Tensor:
    """Which columns of the prompt MRCA masks, [L] bool: the token's own, or those behind it too."""
    if p.masked_columns == "token":
        return prompt.token_columns
    return prompt.token_columns | prompt.after_columns
