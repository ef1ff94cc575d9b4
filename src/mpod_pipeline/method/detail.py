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
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.geometry.dmtet import LEAST_PIECE, DMTet
from mpod_pipeline.geometry.mesh import Mesh, keep_large_components
from mpod_pipeline.geometry.regularisers import laplacian, mask_loss, normal_consistency
from mpod_pipeline.method.cutouts import Cutouts, Reference, reference_view
from mpod_pipeline.method.inpainting import InpaintedViews, InpaintingParameters, painted_over, target_losses
from mpod_pipeline.method.masks import OutlineMasks
from mpod_pipeline.method.optimisation import Optimisation
from mpod_pipeline.method.outline_colours import OutlineColours
from mpod_pipeline.method.smoothness import colour_change, neighbours
from mpod_pipeline.method.view_schedule import drawn_views, further_of
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.priors.controlnet import MaskControl
from mpod_pipeline.priors.mrca import TokenMask
from mpod_pipeline.priors.schedule import Predict
from mpod_pipeline.priors.sds import SdsParameters, annealed_timesteps, sds_loss
from mpod_pipeline.priors.text_to_image import Prompt, TextToImagePrior, view_words
from mpod_pipeline.rendering.backend import Backend, choose_backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from mpod_pipeline.rendering.shading import camera_normals

#: Settings that stood here before the step `export_models` was one.
MOVED_TO_EXPORT = {"long_side_m", "triangles", "texture_size"}
#: Of a shaded view: the share of light from everywhere, and how far from the camera the lamp may stand (1 is 45°).
AMBIENT, SIDEWAYS = 0.4, 0.5


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


class DetailParameters(Parameters):
    """Stage 2. Angles in degrees, lengths in world units."""

    steps: PositiveInt = 80
    backend: Backend | None = Field(
        None, description="whose kernels draw meshes; null: numba on the CPU, torch on any other device"
    )
    grid_resolution: PositiveInt = 56
    resolution: PositiveInt = 128
    outline_resolution: PositiveInt = Field(
        96, description="in which stage 1's colours are looked at, marching 4 world units in as many steps"
    )
    sdf_learning_rate: PositiveFloat = 2e-3
    table_learning_rate: PositiveFloat = 0.005
    network_learning_rate: PositiveFloat = 1e-3
    prompt: str = "A high-resolution DSLR image of <e>"
    novel_views: PositiveInt = Field(1, description="a step; at most as many as masks were exported")
    reference_probability: float | None = Field(
        None,
        ge=0,
        le=1,
        description="draw the photo's view with this probability, else novel ones (paper: 0.25); null: both each step",
    )
    sds: SdsParameters = SdsParameters(guidance_scale=5.0, start=(0.02, 0.5), end=(0.02, 0.3), weight=0.0)
    shaded_probability: float = Field(
        0.0, ge=0, le=1, description="of a step in which SDS sees the novel views shaded, so that it moves the surface"
    )
    inpainting: InpaintingParameters = InpaintingParameters()
    mask_guidance: Literal["mrca", "controlnet", "none"] = Field(
        "mrca", description="how Stable Diffusion learns of the outline: MRCA (Eq. 8), a ControlNet, not at all"
    )
    controlnet: Path | None = Field(None, description="the ControlNet's folder, for mask_guidance 'controlnet'")
    masked_columns: Literal["token", "token_and_after"] = "token"
    weights: DetailWeights = DetailWeights()

    @model_validator(mode="before")
    @classmethod
    def _export_is_a_step_of_its_own(cls, values: Any) -> Any:
        if isinstance(values, dict) and (moved := sorted(MOVED_TO_EXPORT & values.keys())):
            raise ValueError(f"detail.{moved[0]} has moved: set export.{moved[0]}")
        return values

    @model_validator(mode="after")
    def _controlnet_has_weights(self) -> Self:
        if self.mask_guidance == "controlnet" and self.controlnet is None:
            raise ValueError("mask_guidance 'controlnet' needs its weights: set controlnet to their folder")
        return self


def refine_detail(
    photos: Cutouts,
    token: Tensor,
    field: OutlineField,
    masks: OutlineMasks,
    prior: TextToImagePrior,
    parameters: DetailParameters,
    seed: int,
    report: Report,
    checkpoint: Checkpoint | None = None,
    controlnet: ControlNetModel | None = None,
) -> PaintedSurface:
    """Turn the outline into a mesh, and refine its shape and colours. Every step looks at the front, and at one of the
    further photos in turn.

    controlnet: for the parameter ``mask_guidance`` "controlnet" (see `load_mask_controlnet`).

    Raises ProductError where the outline has no surface, or the optimisation diverges or loses it.
    """
    p = parameters
    generator = torch.Generator().manual_seed(seed)
    device = prior.device
    field = field.on(device)
    shape = start_shape(field, masks, p)
    outline_colours = OutlineColours.of(
        field, shape.mesh().detach(), mask_views(masks).to(device), photos.cameras, p.outline_resolution, shape.backend
    )
    texture = outline_colours.start_texture(field, generator)
    optimizer = torch.optim.Adam(
        [
            {"params": list(shape.parameters()), "lr": p.sdf_learning_rate},
            {"params": list(texture.encoding.parameters()), "lr": p.table_learning_rate},
            {"params": list(texture.network.parameters()), "lr": p.network_learning_rate},
        ],
        betas=(0.9, 0.99),
        eps=1e-15,
        fused=True,
    )
    painter = Painter.of(prior, token, p, controlnet)
    painted = InpaintedViews(p.inpainting, len(masks.mask), p.resolution).to(device)
    features = load_efficientnet_lite0(device, p.resolution) if p.inpainting.features else None
    references = [reference_view(photo.picture, p.resolution) for photo in photos.photos]

    def losses_of(step: int) -> dict[str, Tensor]:
        mesh = shape.mesh()
        if p.inpainting.wanted and painted.due(step):
            paint_views(painted, mesh, texture, masks, painter, generator)
        from_photo, with_prior = drawn_views(p.reference_probability, generator)
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
            losses |= novel_view_losses(texture, views, novel, painter, step / p.steps, generator)
            unseen = novel.unseen_by(photos)
            if targets is not None and unseen.any():  # what a photo shows, it shows better
                losses |= target_losses(views.pictures[unseen], targets[unseen], features, p.inpainting)
        losses["outline_colour"] = p.weights.outline_colour * outline_colours.difference(texture, generator)
        losses["normal_consistency"] = p.weights.normal_consistency * normal_consistency(mesh)
        losses["laplacian"] = p.weights.laplacian * laplacian(mesh)
        return losses

    both = torch.nn.ModuleList([shape, texture, painted])
    Optimisation("Refining the details", both, optimizer, generator, p.steps).run(losses_of, report, checkpoint)
    with torch.no_grad():
        mesh = keep_large_components(shape.mesh().detach(), LEAST_PIECE)
    return PaintedSurface(mesh.vertices, mesh.faces, texture)


def start_shape(field: OutlineField, masks: OutlineMasks, p: DetailParameters) -> DMTet:
    """DMTet from the outline's density, at the level whose silhouettes are the masks'. Raises ProductError if empty."""
    return DMTet.from_density(
        field.density,
        field.settings.bound,
        p.grid_resolution,
        masks=torch.from_numpy(masks.mask.astype(np.float32)).to(field.device),
        cameras=mask_views(masks),
        backend=choose_backend(p.backend, field.device),
    )


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


def shaded(seen: Views, cameras: Cameras, generator: torch.Generator) -> Tensor:
    """The pictures [B, R, R, 3] lit from near the camera: what looks at them has a say in the surface's normals."""
    towards = torch.tensor([0.0, 0.0, 1.0]) + SIDEWAYS * torch.randn(len(cameras), 3, generator=generator)
    light = normalize(towards, dim=-1).to(seen.normals)[:, None, None]
    lit = (camera_normals(seen.normals, cameras) * light).sum(dim=-1).clamp_min(0)
    factor = AMBIENT + (1 - AMBIENT) * lit
    product = seen.pictures - (1 - seen.opacity[..., None])
    return product * factor[..., None] + 1 - seen.opacity[..., None]


def reference_losses(seen: Views, reference: Reference, weights: DetailWeights) -> dict[str, Tensor]:
    """``L_ref`` (Eq. 2) on colours over white, and on the mask, of the one view that is the photo's."""
    target = reference.picture.permute(1, 2, 0).to(seen.pictures)
    return {
        "reference_colour": weights.colour * (seen.pictures[0] - target).square().mean(),
        "reference_mask": weights.mask * mask_loss(seen.opacity, reference.mask[None].to(seen.opacity)),
    }


@dataclass(frozen=True)
class Painter:
    """Stable Diffusion, asked for the product's word inside its outline."""

    prior: TextToImagePrior
    prompts: dict[str, Prompt]  # by the words for a side, which the prompt ends with
    nothing: Prompt
    p: DetailParameters
    controlnet: ControlNetModel | None = None

    @classmethod
    @torch.no_grad()
    def of(
        cls, prior: TextToImagePrior, token: Tensor, p: DetailParameters, controlnet: ControlNetModel | None = None
    ) -> Painter:
        """For a product's token [D]. Raises SetupError where a ControlNet is chosen and not given."""
        if p.mask_guidance == "controlnet" and controlnet is None:
            raise SetupError("mask_guidance 'controlnet' was chosen, but its network was not loaded.")
        sides = [view_words(*towards) for towards in ((0, 0), (90, 0), (180, 0), (0, 90))]
        prompts = {side: prior.encode_prompt(f"{p.prompt}, {side}", token.to(prior.device)) for side in sides}
        return cls(prior, prompts, prior.encode_prompt(""), p, controlnet)

    def predictor(self, masks: OutlineMasks, guidance_scale: float) -> Predict:
        """The guided prediction for pictures of the views that masks were exported of."""
        directions = zip(masks.azimuth_deg, masks.elevation_deg, strict=True)
        prompts = [self.prompts[view_words(float(a), float(e))] for a, e in directions]
        inside = torch.from_numpy(masks.mask)[:, None].to(self.prior.device, torch.float32)
        token_mask, control = None, None
        if self.p.mask_guidance == "mrca":
            token_mask = TokenMask(inside, rectified_columns(prompts[0], self.p))
        elif self.controlnet is not None:
            control = MaskControl.of(self.controlnet, inside, self.prior.image_size)

        def predict(noisy: Tensor, t: Tensor) -> Tensor:
            return self.prior.predict(noisy, t, prompts, self.nothing, guidance_scale, token_mask, control)

        return predict


def paint_views(
    painted: InpaintedViews,
    mesh: Mesh,
    texture: OutlineField,
    masks: OutlineMasks,
    painter: Painter,
    generator: torch.Generator,
) -> None:
    """Let some of the masks' views, drawn anew, have new targets: what is painted over the mesh as they see it."""
    p = painter.p
    view = torch.randperm(len(masks.mask), generator=generator)[: len(painted.view)]
    chosen = masks[view.numpy()]
    with torch.no_grad():
        seen = render(mesh, texture, mask_views(chosen).to(mesh.vertices.device), p)
    outline = resized_masks(chosen, p.resolution).to(seen.opacity)
    predict = painter.predictor(chosen, p.inpainting.guidance_scale)
    pictures = seen.pictures.permute(0, 3, 1, 2)
    painted.renew(view, painted_over(pictures, outline[:, None], painter.prior, predict, p.inpainting, generator))


def resized_masks(masks: OutlineMasks, resolution: int) -> Tensor:
    """The masks as a picture of that size would cover its pixels, [N, R, R] in [0, 1]."""
    outline = torch.from_numpy(masks.mask.astype(np.float32))
    return torch.nn.functional.interpolate(outline[:, None], (resolution, resolution), mode="area")[:, 0]


def novel_view_losses(
    texture: OutlineField,
    seen: Views,
    masks: OutlineMasks,
    painter: Painter,
    progress: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """``L_nvm`` (Eq. 9) and detail appearance inpainting (SDS with MRCA), of views that masks were exported of."""
    p, prior = painter.p, painter.prior
    target = resized_masks(masks, p.resolution).to(seen.opacity)
    losses = {"novel_view_mask": p.weights.novel_view_mask * mask_loss(seen.opacity, target)}
    if p.sds.weight:
        pictures = seen.pictures
        if float(torch.rand((), generator=generator)) < p.shaded_probability:
            pictures = shaded(seen, mask_views(masks).to(pictures.device), generator)
        latents = prior.encode(pictures.permute(0, 3, 1, 2))
        timesteps = annealed_timesteps(p.sds, progress, len(latents), prior.schedule, generator)
        losses["sds"] = p.sds.weight * sds_loss(
            latents,
            painter.predictor(masks, p.sds.guidance_scale),
            prior.schedule,
            timesteps.to(latents.device),
            generator,
            p.sds.weighting,
        )
    if len(seen.surface):
        losses["colour_smoothness"] = p.weights.colour_smoothness * colour_change(
            texture, *neighbours(seen.surface, generator)
        )
    return losses


def rectified_columns(prompt: Prompt, p: DetailParameters) -> Tensor:
    """Which columns of the prompt MRCA masks, [L] bool: the token's own, or those behind it too."""
    if p.masked_columns == "token":
        return prompt.token_columns
    return prompt.token_columns | prompt.after_columns
