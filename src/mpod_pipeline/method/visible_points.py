"""A product as points: what its photo shows, and from other sides what stage 1's field shows (Make-It-3D's cloud).

The photo has the first word. A point of another view that the photo sees as well takes the photo's colour; one that
would stand before what the photo shows, or beside it, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import ElevationRangeDeg, Parameters
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.cutouts import Cutout, reference_view
from mpod_pipeline.method.guidance.novel_view import angle_factor
from mpod_pipeline.method.guidance.regularisers import SURFACE
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.points import THICKNESS, splat
from mpod_pipeline.rendering.volume import VolumeImage, on_background

#: What is left out round silhouettes, as a share of the picture: Make-It-3D's 5.5 of 800 pixels.
RIM = 5.5 / 800
#: A surface is so steep at most, depth by width; beyond, two surfaces are beside each other.
STEEP = 3.5
#: So far beside the photo's product, as a share of the picture, a point may be: the outline is that wrong.
MARGIN = 0.03


class CloudParameters(Parameters):
    """The views of stage 1's field whose points a cloud has, and how many it may have."""

    azimuths: PositiveInt = Field(11, description="evenly round the product, at each elevation")
    elevations: PositiveInt = 3
    raised_deg: ElevationRangeDeg = Field((-10.0, 10.0), description="the elevations' range, from the photo's on")
    most_points: PositiveInt = 30_000


@dataclass(frozen=True)
class VisiblePoints:
    """N points. of_photo: [N] bool, whether it has the photo's colour."""

    positions: Tensor  # [N, 3]
    colours: Tensor  # [N, 3] in [0, 1]
    of_photo: Tensor  # [N]

    def __getitem__(self, chosen: Tensor) -> VisiblePoints:
        return VisiblePoints(self.positions[chosen], self.colours[chosen], self.of_photo[chosen])

    def and_further(self, others: VisiblePoints) -> VisiblePoints:
        return VisiblePoints(
            *(torch.cat(each) for each in zip(vars(self).values(), vars(others).values(), strict=True))
        )


@torch.no_grad()
def visible_points(
    field: OutlineField,
    photo: Cutout,
    resolution: int,
    step_size: float,
    p: CloudParameters,
    generator: torch.Generator,
) -> VisiblePoints:
    """One view after another, those near the photo's first, adds points where it sees a surface that the cloud has not.

    resolution: pixels a side of the views. step_size: world units along their rays. Raises ProductError where the photo
    shows nothing of the field.
    """
    views = cloud_views(photo, p).to(field.device)
    front = PhotoSurface.of(field, photo, resolution, step_size)
    cloud = front.points()
    if len(cloud.positions) == 0:
        raise ProductError("The outline has no surface where the photo shows the product.")
    for camera in views:
        image = field.seen_by(camera, resolution, step_size)
        known = splat(cloud.positions, camera, resolution).depth < image.depth + THICKNESS
        cloud = cloud.and_further(front.allowed(*points_of(image, camera, surface_of(image, camera) & ~known)))
    others = (~cloud.of_photo).nonzero()[:, 0]
    surplus = max(0, len(cloud.positions) - p.most_points)
    kept = torch.ones_like(cloud.of_photo)
    kept[others[torch.randperm(len(others), generator=generator)[:surplus].to(others.device)]] = False
    return cloud[kept]


def cloud_views(photo: Cutout, p: CloudParameters) -> Cameras:
    """Those near the photo's first."""
    azimuths = torch.arange(p.azimuths) * 360 / p.azimuths
    elevations = photo.elevation_deg + torch.linspace(*p.raised_deg, p.elevations)
    cameras = Cameras.at(azimuths.repeat(p.elevations), elevations.repeat_interleave(p.azimuths))
    order = angle_factor(cameras, photo.camera).argsort(stable=True)
    return Cameras.at(cameras.azimuth_deg[order], cameras.elevation_deg[order])


@dataclass(frozen=True)
class PhotoSurface:
    """The surface that the photo shows, in its own view."""

    camera: Cameras
    depth: Tensor  # [R, R], of the field
    known: Tensor  # [R, R] bool, where there is a surface that the photo colours
    colours: Tensor  # [R, R, 3], the photo's
    near: Tensor  # [R, R] bool, where the photo shows the product, and a little beside

    @classmethod
    def of(cls, field: OutlineField, photo: Cutout, resolution: int, step_size: float) -> PhotoSurface:
        reference = reference_view(photo.picture, resolution)
        image = field.seen_by(photo.camera, resolution, step_size)
        inside = (reference.mask > 0.5)[None].to(field.device)
        known = (image.opacity > SURFACE) & ~grown(~inside, RIM)
        colours = reference.picture.permute(1, 2, 0).to(image.colour)
        return cls(photo.camera.to(field.device), image.depth[0], known[0], colours, grown(inside, MARGIN)[0])

    def points(self) -> VisiblePoints:
        """One a pixel."""
        positions = self.camera.unproject(self.depth[None])[0][self.known]
        return VisiblePoints(positions, self.colours[self.known], positions.new_ones(len(positions)).bool())

    def allowed(self, positions: Tensor, colours: Tensor) -> VisiblePoints:
        """Those of points that the photo does not contradict, those that it shows in its colours."""
        x, y, depth = self.camera.project(positions)[0].unbind(dim=-1)
        size = len(self.depth)
        row, column = (((each + 1) * size / 2).long().clamp(0, size - 1) for each in (-y, x))
        before = self.depth[row, column] - depth
        known = self.known[row, column]
        shown = known & (before.abs() <= THICKNESS)
        colours = torch.where(shown[:, None], self.colours[row, column], colours)
        allowed = self.near[row, column] & ~(known & (before > THICKNESS))
        return VisiblePoints(positions, colours, shown)[allowed]


def points_of(image: VolumeImage, camera: Cameras, where: Tensor) -> tuple[Tensor, Tensor]:
    """The points [N, 3] that a camera sees at the pixels ``where`` [1, R, R], and their colours [N, 3]."""
    colours = on_background(image.colour, image.opacity, 1.0)  # as they were learnt
    return camera.unproject(image.depth)[where], colours[where].clamp(0, 1)


def surface_of(image: VolumeImage, cameras: Cameras) -> Tensor:
    """Where a picture shows a surface whose depth can be told, [B, R, R] bool: not at silhouettes and jumps of depth,
    where a ray sees two.
    """
    solid = image.opacity > SURFACE
    pixel = 2 * cameras.half_frame * cameras.distance / image.depth.shape[-1]
    apart = F.max_pool2d(image.depth, 3, 1, 1) + F.max_pool2d(-image.depth, 3, 1, 1)  # of pixels two apart
    return solid & ~grown(apart > 2 * STEEP * pixel, RIM)


def grown(where: Tensor, share: float) -> Tensor:
    """A mask [B, R, R] bool, wider all round by this share of the picture, and by a pixel at least."""
    rim = max(1, round(share * where.shape[-1]))
    return F.max_pool2d(where.float(), 2 * rim + 1, 1, rim) > 0
