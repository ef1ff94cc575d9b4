"""Photos of one product that are each framed by themselves, brought into one frame before there is any shape.

*Silhouette coherence* (Hernández, Schmitt and Cipolla, PAMI 2007): a ray along the edge of one silhouette touches the
product. So some point of it lies within every other silhouette. Where none does, scales or places are wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import cos, exp, log, radians, sin

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.method.alignment import Placement
from mpod_pipeline.method.cutouts import Cutout, Cutouts, extent

#: How far from the frame's middle a product may reach in any of its photos, as a share of the frame's half.
WIDEST = 0.94
#: Sides of the maps of distances, points of each edge, points of each ray; and how far rays go to both sides of the
#: world's origin.
RESOLUTION, EDGE_POINTS, RAY_POINTS, REACH = 96, 160, 48, 0.9
STEPS, LEARNING_RATE = 60, 0.3
#: How far edges may be outside, shares of the frame's half: a pixel or so. And the misfit that is worth one prior's.
TOLERANCE, MISFIT = 0.004, 0.002
#: How far shifts, and logarithms of scales, are likely to be from what the products' sizes say. Widths say it well.
SHIFT, SCALE, SCALE_BY_WIDTH = 0.05, 0.2, 0.06


def framed_together(photos: Sequence[Cutout]) -> Cutouts:
    """Photos that are each framed by themselves as if all cameras stood equally far and looked at one point. All fit
    into their frames.
    """
    if len(photos) == 1:
        return Cutouts(tuple(photos))
    sized = [replace(Placement.of(photo), scale=scale_beside_front(photos[0], photo)) for photo in photos]
    placements = fitting(photos, coherent_placements(photos, fitting(photos, sized)))
    return Cutouts(tuple(placement.place(photo) for photo, placement in zip(photos, placements, strict=True)))


def fitting(photos: Sequence[Cutout], placements: Sequence[Placement]) -> list[Placement]:
    """The placements, all made larger or smaller by the same: the front as it was framed, or less where another photo
    would not fit into its frame.
    """
    reach = max(placement.reach(photo) for photo, placement in zip(photos, placements, strict=True))
    factor = min(1 / placements[0].scale, WIDEST / reach)
    return [placement.zoomed(factor) for placement in placements]


def coherent_placements(photos: Sequence[Cutout], start: Sequence[Placement]) -> list[Placement]:
    """The scales and shifts near the start's under which silhouettes agree. The first photo stays; so do all angles."""
    by_width = [seen_by_width(photo.azimuth_deg) for photo in photos]
    spread = torch.tensor([[SCALE_BY_WIDTH if wide else SCALE, SHIFT, SHIFT] for wide in by_width])
    spread[0] = 0.0
    begin = torch.tensor([[log(placement.scale), placement.x, placement.y] for placement in start])
    coherence = Coherence(photos)
    off = torch.zeros(len(photos), 3, requires_grad=True)  # from the start, in spreads
    optimizer = torch.optim.Adam([off], LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    for step in range(STEPS):
        misfit = coherence.misfit(begin + off * spread, between=step * 0.618 % 1)
        loss = misfit / MISFIT + off.square().sum() / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found = (begin + off.detach() * spread).tolist()
    return [
        replace(placement, scale=exp(scale), x=x, y=y) for placement, (scale, x, y) in zip(start, found, strict=True)
    ]


def scale_beside_front(front: Cutout, photo: Cutout) -> float:
    """The factor by which another photo's product becomes as large as in the front's frame, as far as its size says.

    From behind the product is as wide as from the front. From the side it is as high. A camera above it sees its height
    H, and its extent D away from the camera, as H cos e + D sin |e|. The width in one view is that extent in the other.
    """
    (height, width), (other_height, other_width) = extent(front.picture), extent(photo.picture)
    if seen_by_width(photo.azimuth_deg):
        return width / other_width
    e, other_e = (radians(abs(each.elevation_deg)) for each in (front, photo))
    ratio = cos(other_e) / cos(e)
    return (height * ratio + width * sin(other_e)) / (other_height + other_width * sin(e) * ratio)


def seen_by_width(azimuth_deg: float) -> bool:
    """Whether a photo from there shows the product's width, as the front does."""
    return abs(cos(radians(azimuth_deg))) > 0.9


class Coherence:
    """How well photos' silhouettes agree; of each, what its own frame shows.

    distances: [P, R, R], from the edge, shares of the frame's half, positive inside. edges: [P, N, 2], points along it,
    x right and y up.
    """

    def __init__(self, photos: Sequence[Cutout]) -> None:
        self.cameras = Cutouts(tuple(photos)).cameras
        shown = [distances_and_edge(photo) for photo in photos]
        self.distances = torch.stack([distances for distances, _ in shown])
        self.edges = torch.stack([edge for _, edge in shown])

    def misfit(self, placements: Tensor, between: float) -> Tensor:
        """How far the rays along edges pass the other silhouettes, the mean of each photo, summed.

        placements: [P, 3], logarithms of scales, and shifts. between: where the points of rays begin, in [0, 1).
        """
        outside = -self.innermost(placements, between)
        return (outside - TOLERANCE).clamp_min(0).mean(dim=1).sum()

    def innermost(self, placements: Tensor, between: float) -> Tensor:
        """Of each photo's rays along its edge, the distance within all other silhouettes of the best point, [P, N]."""
        scale, shift = placements[:, 0].exp(), placements[:, 1:]
        points = self._ray_points(self.edges * scale[:, None, None] + shift[:, None], between)
        count, shape = len(points), points.shape[:-1]
        seen = self.cameras.project(points.reshape(-1, 3))[..., :2]
        within = (seen - shift[:, None]) / scale[:, None, None]
        beyond = (within.abs() - 1).clamp_min(0).sum(dim=-1)  # the frame
        grid = (within * within.new_tensor([1.0, -1.0]))[:, None]
        distances = F.grid_sample(self.distances[:, None], grid, padding_mode="border", align_corners=False)
        inside = ((distances[:, 0, 0] - beyond) * scale[:, None]).reshape(count, *shape)
        own = torch.eye(count, dtype=torch.bool)[:, :, None, None]
        return inside.masked_fill(own, torch.inf).amin(dim=0).amax(dim=-1)

    def _ray_points(self, places: Tensor, between: float) -> Tensor:
        """Points [P, N, D, 3] along the rays through places [P, N, 2] in the cameras' frames."""
        position, right, up, forward = (axis[:, None] for axis in self.cameras.basis)
        across = self.cameras.half_frame * (places[..., :1] * right + places[..., 1:] * up)
        depth = self.cameras.distance + REACH * ((torch.arange(RAY_POINTS) + between) / RAY_POINTS * 2 - 1)
        return position[:, :, None] + depth[:, None] * (forward + across)[:, :, None]


def distances_and_edge(photo: Cutout) -> tuple[Tensor, Tensor]:
    """A silhouette's map of distances [R, R] and points along its edge [N, 2]: see `Coherence`."""
    solid = (photo.picture[..., 3] >= 128).astype(np.uint8)
    half = len(solid) / 2
    framed = cv2.copyMakeBorder(solid, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)  # what ends at the frame ends there
    inside, outside = (cv2.distanceTransform(part, cv2.DIST_L2, 5)[1:-1, 1:-1] for part in (framed, 1 - framed))
    signed = (np.where(solid > 0, inside - 0.5, 0.5 - outside) / half).astype(np.float32)
    distances = cv2.resize(signed, (RESOLUTION, RESOLUTION), interpolation=cv2.INTER_AREA)
    contours, _ = cv2.findContours(solid, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    edge = np.concatenate(contours)[:, 0]
    edge = edge[np.linspace(0, len(edge) - 1, EDGE_POINTS).round().astype(int)]
    places = ((edge + 0.5) / half - 1) * (1, -1)
    return torch.from_numpy(distances), torch.from_numpy(places.astype(np.float32))
