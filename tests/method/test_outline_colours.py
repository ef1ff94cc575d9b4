"""What stage 2's texture starts from and is held to: the field as it is seen."""

from __future__ import annotations

import torch
from torch import Tensor

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.method.outline_colours import OutlineColours
from mpod_pipeline.rendering.cameras import Cameras
from tests.geometry.shapes import ball
from tests.method.quick import RADIUS, Ball

SIGMA, SHELL = 20.0, 0.05
PHOTO = Cameras.at(0.0, 0.0)
ALL_ROUND = Cameras.at([0.0, 90.0, 180.0, 270.0], 0.0)


class PaleSkin(Ball):
    """A red ball under a white skin as thick as light goes on average: seen from outside it is pale red."""

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        white = (points.norm(dim=-1) > RADIUS - SHELL).float()[:, None]
        red = torch.tensor([1.0, 0.0, 0.0])
        return self.density(points), white + (1 - white) * red


def colours() -> tuple[OutlineField, OutlineColours]:
    field, mesh = PaleSkin(SIGMA), ball(RADIUS, 24)
    field.occupancy.update(0, field.density, generator=torch.Generator().manual_seed(0))
    return field, OutlineColours.of(field, mesh, ALL_ROUND, PHOTO, 96)


def test_they_are_those_that_a_ray_sees() -> None:
    _, seen = colours()
    behind = seen.points[:, 0] < -0.97 * RADIUS  # where rays of the camera behind go straight in
    assert int(behind.sum()) > 20
    white = 1 - torch.exp(torch.tensor(-SIGMA * SHELL))  # Eq. 3
    expected = torch.stack([torch.ones(()), white, white])
    # Steps of 0.04 along rays that meet the skin at whatever phase.
    assert (seen.colours[behind].mean(dim=0) - expected).abs().max() < 0.1


def test_what_faces_the_photo_is_left_to_it() -> None:
    _, seen = colours()
    # A cosine of 0.25 towards a camera 2.5 away: the normal leans by 0.44 at most.
    assert (seen.points[:, 0] < 0.45 * RADIUS).all()
    assert (seen.points[:, 0] > 0.1 * RADIUS).any() and (seen.points[:, 0] < -0.9 * RADIUS).any()


def test_the_texture_starts_with_them_at_the_surface() -> None:
    field, seen = colours()
    generator = torch.Generator().manual_seed(0)
    before = float(seen.difference(field, generator))
    after = float(seen.difference(seen.start_texture(field, generator), generator))
    assert after < 0.2 * before  # at the rim rays graze and see another colour from each camera
    assert float(seen.difference(field, generator)) > 0.9 * before  # the field itself stays as it was
