"""Further photos of a product in stage 1: held to what they show, each framed and lit by itself."""

from __future__ import annotations

from dataclasses import astuple, replace

import torch
from torch import Tensor, nn

from mpod_pipeline.cutout.matting import relit
from mpod_pipeline.method.alignment import Placement, Silhouettes, align
from mpod_pipeline.method.cutouts import Cutout, Cutouts, Reference, reference_view, turn_deg
from mpod_pipeline.method.view_schedule import is_due
from mpod_pipeline.rendering.cameras import Cameras

#: When the cameras are looked for, as shares of the steps: first as soon as the outline is more than a ball.
LOOKS = (0.25, 0.5, 0.75)
#: In which their silhouettes are compared, pixels.
RESOLUTION = 48
#: What holds a photo's brightness to the front's.
GAIN_WEIGHT = 10.0


class FurtherPhotos(nn.Module):
    """All photos except the front: where their cameras stand by now, and how much lighter or darker they are."""

    placement: Tensor  # [N, 5]: azimuth, elevation, scale, x, y, as in `Placement`
    overlap: Tensor  # [N], with the outline's silhouette when last looked at

    def __init__(self, cutouts: Cutouts) -> None:
        super().__init__()
        self._photos = cutouts.others
        self._starts = [Placement.of(photo) for photo in self._photos]
        self.register_buffer("placement", torch.tensor([astuple(start) for start in self._starts]).reshape(-1, 5))
        self.register_buffer("overlap", torch.ones(len(self._photos)))
        self.log_gain = nn.Parameter(torch.zeros(len(self._photos), 3))
        self._references: dict[tuple[int, int, Placement], Reference] = {}

    def __len__(self) -> int:
        return len(self._photos)

    def placement_of(self, index: int) -> Placement:
        return Placement(*self.placement[index].tolist())

    def camera(self, index: int) -> Cameras:
        return Cameras.at(*self.placement[index, :2].tolist())

    def photo(self, index: int) -> Cutout:
        """The photo in its camera's frame, as far as that is known by now; in its own light."""
        return self.placement_of(index).place(self._photos[index])

    def reference(self, index: int, resolution: int) -> Reference:
        key = index, resolution, self.placement_of(index)
        if key not in self._references:
            self._references[key] = reference_view(self.photo(index).picture, resolution)
        return self._references[key]

    def gain(self, index: int) -> Tensor:
        """What the product's colours are multiplied by in the photo, [3]."""
        return self.log_gain[index].exp()

    def gain_loss(self, index: int) -> Tensor:
        return GAIN_WEIGHT * self.log_gain[index].square().mean()

    def due(self, step: int, steps: int) -> bool:
        """Whether the cameras are to be looked for before a step."""
        return len(self) > 0 and is_due(step, steps, LOOKS)

    def looked(self, step: int, steps: int) -> bool:
        """Whether the cameras have been looked for by a step."""
        return step >= LOOKS[0] * steps

    def look(self, silhouettes: Silhouettes) -> None:
        """Move every camera to where its photo's silhouette is most like the outline's, in `RESOLUTION`."""
        for index, start in enumerate(self._starts):
            mask = reference_view(self._photos[index].picture, RESOLUTION).mask
            found, overlap = align(mask, silhouettes, start, self.placement_of(index))
            self.placement[index] = torch.tensor(astuple(found))
            self.overlap[index] = overlap

    def misfits(self, least: float) -> frozenset[str]:
        """The names of the photos whose silhouettes overlap less with the outline's."""
        pairs = zip(self._photos, self.overlap.tolist(), strict=True)
        return frozenset(photo.name for photo, overlap in pairs if overlap < least)

    def framed(self, front: Cutout) -> Cutouts:
        """All photos in their cameras' frames, each in its own light."""
        return Cutouts((front, *(self.photo(index) for index in range(len(self)))))

    def aligned(self, front: Cutout) -> Cutouts:
        """All photos in their cameras' frames and in the front's light."""
        gains = [self.gain(index).detach().cpu().numpy() for index in range(len(self))]
        framed = zip(self.framed(front).others, gains, strict=True)
        others = [replace(photo, picture=relit(photo.picture, 1 / gain)) for photo, gain in framed]
        return Cutouts((front, *others))


def nearest_photo(cutouts: Cutouts, azimuth_deg: float) -> int:
    """Which photo was taken from nearest to an azimuth, by its place among them."""
    return min(range(len(cutouts.photos)), key=lambda i: turn_deg(cutouts.photos[i].azimuth_deg, azimuth_deg))
