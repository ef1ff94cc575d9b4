"""Where the cameras of further photos stood: each is brought into the front's frame by the silhouettes of the outline.

A shop takes its photos one by one: from another distance, cropped otherwise, from another height. What the file's name
says is a side, to a few degrees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.cutout.matting import bounding_box, moved
from mpod_pipeline.method.cutouts import Cutout
from mpod_pipeline.rendering.cameras import Cameras

#: How far a photo's camera may be from where it is said, or thought, to be: degrees.
AZIMUTH_BOUND, ELEVATION_BOUND = 15.0, 15.0
#: And how far its scale from the one under which silhouettes agree, as a factor.
SCALE_BOUND = 1.15
#: Steps of the search, degrees, one after another.
STEPS_DEG = (6.0, 3.0)
#: What a degree away from the start costs, in overlap: silhouettes alone hardly tell a turn of a round thing.
COST_PER_DEG = 0.0015
#: Where a silhouette is searched in its frame: factors of scale, and shares of the frame's half;
#: halved where none of them is better.
SCALE_STEP, SHIFT_STEP, ROUNDS = 0.04, 0.03, 8

#: In which directions: scale, x, y.
PATTERN = ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 1), (-1, 0, -1))

#: From cameras to the silhouettes [B, R, R] in [0, 1] that they see.
Silhouettes = Callable[[Cameras], Tensor]


@dataclass(frozen=True)
class Placement:
    """Where a photo was taken, and how its cutout gets into that camera's frame.

    The cutout is made ``scale`` times as large about the frame's centre. Then it is moved by shares of the frame's
    half, x right and y up.
    """

    azimuth_deg: float
    elevation_deg: float
    scale: float = 1.0
    x: float = 0.0
    y: float = 0.0

    @classmethod
    def of(cls, photo: Cutout) -> Placement:
        """Of a photo whose frame is its camera's."""
        return cls(photo.azimuth_deg, photo.elevation_deg)

    def place(self, photo: Cutout) -> Cutout:
        """A photo in this camera's frame; what leaves it is lost."""
        half = len(photo.picture) / 2
        framed = (self.scale, self.x, self.y) == (1, 0, 0)
        picture = photo.picture if framed else moved(photo.picture, self.scale, self.x * half, -self.y * half)
        return replace(photo, picture=picture, azimuth_deg=self.azimuth_deg, elevation_deg=self.elevation_deg)

    def reach(self, photo: Cutout) -> float:
        """How far from the frame's middle a photo's product reaches there, as a share of the frame's half."""
        half = len(photo.picture) / 2
        top, left, bottom, right = (edge / half - 1 for edge in bounding_box(photo.picture[..., 3] >= 128))
        across = (left * self.scale + self.x, right * self.scale + self.x)
        along = (top * self.scale - self.y, bottom * self.scale - self.y)
        return max(map(abs, (*across, *along)))

    def zoomed(self, factor: float) -> Placement:
        """In a frame where everything is so many times as large."""
        return replace(self, scale=self.scale * factor, x=self.x * factor, y=self.y * factor)


def align(mask: Tensor, silhouettes: Silhouettes, start: Placement, now: Placement) -> tuple[Placement, float]:
    """The placement within bounds of ``start`` under which a photo's mask [R, R] overlaps most with the silhouette
    there, searched from ``now``; and that overlap.
    """
    best, score = now, -1.0
    for step in STEPS_DEG:
        around = [best, *_turned(best, step, start)]
        cameras = Cameras.at([p.azimuth_deg for p in around], [p.elevation_deg for p in around])
        seen = silhouettes(cameras)
        for placement, silhouette in zip(around, seen, strict=True):
            found, overlap = fit_in_frame(mask, silhouette, placement, start.scale)
            off = abs(found.azimuth_deg - start.azimuth_deg) + abs(found.elevation_deg - start.elevation_deg)
            if overlap - COST_PER_DEG * off > score:
                best, score = found, overlap - COST_PER_DEG * off
    off = abs(best.azimuth_deg - start.azimuth_deg) + abs(best.elevation_deg - start.elevation_deg)
    return best, score + COST_PER_DEG * off


def _turned(placement: Placement, step: float, start: Placement) -> list[Placement]:
    """The placement turned by one and two steps to each side, and up and down, within bounds."""
    turns = [(k * step, 0.0) for k in (-2, -1, 1, 2)] + [(0.0, k * step) for k in (-2, -1, 1, 2)]
    places = [(placement.azimuth_deg + a, placement.elevation_deg + e) for a, e in turns]
    return [
        replace(placement, azimuth_deg=azimuth, elevation_deg=elevation)
        for azimuth, elevation in places
        if abs(azimuth - start.azimuth_deg) <= AZIMUTH_BOUND and abs(elevation - start.elevation_deg) <= ELEVATION_BOUND
    ]


def fit_in_frame(
    mask: Tensor, silhouette: Tensor, placement: Placement, expected_scale: float
) -> tuple[Placement, float]:
    """The scale and shift under which a mask [R, R] overlaps most with a silhouette [R, R], by a pattern search."""
    found = placement
    best = float(soft_overlap(placed(mask, [found]), silhouette)[0])
    scale_step, shift_step = SCALE_STEP, SHIFT_STEP
    for _ in range(ROUNDS):
        moves = [(found.scale * (1 + a * scale_step), x * shift_step, y * shift_step) for a, x, y in PATTERN]
        tried = [
            replace(found, scale=scale, x=found.x + x, y=found.y + y)
            for scale, x, y in moves
            if 1 / SCALE_BOUND <= scale / expected_scale <= SCALE_BOUND
        ]
        overlaps = soft_overlap(placed(mask, tried), silhouette)
        if float(overlaps.max()) > best:
            best, found = float(overlaps.max()), tried[int(overlaps.argmax())]
        else:
            scale_step, shift_step = scale_step / 2, shift_step / 2
    return found, best


def soft_overlap(masks: Tensor, silhouette: Tensor) -> Tensor:
    """Intersection over union of masks [N, R, R] with a silhouette [R, R], both in [0, 1]; [N]."""
    shared, both = torch.minimum(masks, silhouette), torch.maximum(masks, silhouette)
    return shared.sum(dim=(1, 2)) / both.sum(dim=(1, 2)).clamp_min(1)


def placed(picture: Tensor, placements: list[Placement]) -> Tensor:
    """A picture [R, R] as its placements would frame it, [N, R, R]; 0 where it has no pixels."""
    scale = torch.tensor([p.scale for p in placements])
    shift = torch.tensor([[p.x, -p.y] for p in placements])  # rows run downwards
    inverse = torch.zeros(len(placements), 2, 3)
    inverse[:, 0, 0] = inverse[:, 1, 1] = 1 / scale
    inverse[:, :, 2] = -shift / scale[:, None]
    grid = F.affine_grid(inverse, [len(placements), 1, *picture.shape], align_corners=False)
    return F.grid_sample(picture.expand(len(placements), 1, -1, -1), grid, align_corners=False)[:, 0]
