"""Where the world is and how it is looked at. Every convention of the project stands here.

World: right-handed, +z up. The product stands upright with its front towards +x; the origin is the centre of the
photo's frame. A camera at ``(azimuth, elevation)`` sits on a sphere round the origin and looks at it:

    position = distance * (cos el cos az, cos el sin az, sin el)

so azimuth 0 is the photo's view, azimuth grows as the camera moves to its own right (counter-clockwise seen from
above) and elevation grows upwards. Angles at public borders are degrees.

Images: row 0 is the top, pixel ``(row, column)`` has its centre at ``(row + 0.5, column + 0.5)``. Image-plane
coordinates ("NDC") are ``x`` right and ``y`` up, both in [-1, 1] over the frame. ``depth`` is the distance along the
viewing direction, positive in front of the camera.

glTF (export) is right-handed with +y up and the front towards +z: ``(x, y, z) -> (y, z, x)``, a rotation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import tan

import torch
from torch import Tensor

#: The paper's camera (section 4.2): distance 2.5, field of view 40 degrees.
DISTANCE = 2.5
FOV_DEG = 40.0


@dataclass(frozen=True)
class Cameras:
    """A batch of B cameras on a sphere round the origin, all with square frames.

    azimuth_deg, elevation_deg: [B], degrees. distance: world units. fov_deg: full angle of view.
    """

    azimuth_deg: Tensor  # [B]
    elevation_deg: Tensor  # [B]
    distance: float = DISTANCE
    fov_deg: float = FOV_DEG

    @classmethod
    def at(
        cls,
        azimuth_deg: float | list[float] | Tensor,
        elevation_deg: float | list[float] | Tensor,
        *,
        distance: float = DISTANCE,
        fov_deg: float = FOV_DEG,
    ) -> Cameras:
        """Cameras from numbers, lists or tensors. Angles are broadcast against each other.

        Args:
            azimuth_deg: Degrees round the product. 0 is the photo's, and 90 is a quarter to its right.
            elevation_deg: Degrees above the horizon.
            distance: From the origin, world units.
            fov_deg: The full angle of view, degrees.

        Returns:
            B cameras that look at the origin.

        Example:
            >>> cameras = Cameras.at([0, 90, 180, 270], 15)
            >>> len(cameras.azimuth_deg), cameras.elevation_deg.tolist()
            (4, [15.0, 15.0, 15.0, 15.0])
        """
        azimuth = torch.atleast_1d(torch.as_tensor(azimuth_deg, dtype=torch.float32))
        elevation = torch.atleast_1d(torch.as_tensor(elevation_deg, dtype=torch.float32))
        azimuth, elevation = torch.broadcast_tensors(azimuth, elevation)
        return cls(azimuth.contiguous(), elevation.contiguous(), distance, fov_deg)

    @classmethod
    def joined(cls, batches: Sequence[Cameras]) -> Cameras:
        """The cameras of several batches of one distance and field of view, one after another."""
        first = batches[0]
        if any((batch.distance, batch.fov_deg) != (first.distance, first.fov_deg) for batch in batches):
            raise ValueError("cameras of different distances or fields of view cannot be one batch")
        azimuth, elevation = (
            torch.cat([getattr(batch, name) for batch in batches]) for name in ("azimuth_deg", "elevation_deg")
        )
        return cls(azimuth, elevation, first.distance, first.fov_deg)

    def __len__(self) -> int:
        return len(self.azimuth_deg)

    def __getitem__(self, index: int | slice) -> Cameras:
        """A batch of the chosen cameras (an int gives a batch of one)."""
        if isinstance(index, int):
            index = slice(index, index + 1) if index != -1 else slice(index, None)
        return Cameras(self.azimuth_deg[index], self.elevation_deg[index], self.distance, self.fov_deg)

    def __iter__(self) -> Iterator[Cameras]:
        return (self[i] for i in range(len(self)))

    def turned(self, azimuth_deg: float) -> Cameras:
        """The same, moved so far to their own right."""
        return Cameras(self.azimuth_deg + azimuth_deg, self.elevation_deg, self.distance, self.fov_deg)

    def to(self, device: torch.device | str) -> Cameras:
        return Cameras(self.azimuth_deg.to(device), self.elevation_deg.to(device), self.distance, self.fov_deg)

    @property
    def half_frame(self) -> float:
        """Half the frame's width at unit depth: tan(fov / 2)."""
        return tan(torch.pi * self.fov_deg / 360)

    @cached_property
    def basis(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Positions and unit axes (right, up, forward) of the cameras, each [B, 3], in world coordinates."""
        azimuth, elevation = self.azimuth_deg.deg2rad(), self.elevation_deg.deg2rad()
        cos_a, sin_a, cos_e, sin_e = azimuth.cos(), azimuth.sin(), elevation.cos(), elevation.sin()
        outward = torch.stack([cos_e * cos_a, cos_e * sin_a, sin_e], dim=-1)
        right = torch.stack([-sin_a, cos_a, torch.zeros_like(cos_a)], dim=-1)
        up = torch.stack([-sin_e * cos_a, -sin_e * sin_a, cos_e], dim=-1)
        return outward * self.distance, right, up, -outward

    @cached_property
    def image_axes(self) -> Tensor:
        """Rows [B, 3, 3] that take offsets from the camera to (x d, y d, d), x and y in NDC and d the depth."""
        _, right, up, forward = self.basis
        return torch.stack([right / self.half_frame, up / self.half_frame, forward], dim=1)

    def project(self, points: Tensor) -> Tensor:
        """Project world points [V, 3] to [B, V, 3]: NDC x (right), NDC y (up), depth. Differentiable."""
        axes = self.image_axes
        offset = points[None] + self.distance * axes[:, None, 2]
        # not a product of matrices: this thin it gains nothing, but wakes threads that then hinder a kernel's
        x, y, z = (offset[..., i : i + 1] * axes[:, None, :, i] for i in range(3))
        seen = x + y + z
        return torch.cat([seen[..., :2] / seen[..., 2:], seen[..., 2:]], dim=-1)

    def unproject(self, depth: Tensor) -> Tensor:
        """Where the world is at depths [B, R, R] along the viewing direction, at the pixels' centres: [B, R, R, 3]."""
        origins, directions = self.rays(*depth.shape[1:])
        along = torch.einsum("bhwc,bc->bhw", directions, self.basis[3])
        return origins + directions * (depth / along)[..., None]

    def rays(self, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Rays through the pixel centres: origins and unit directions, each [B, height, width, 3]."""
        position, right, up, forward = self.basis
        device = position.device
        x = ((torch.arange(width, device=device) + 0.5) / width * 2 - 1) * self.half_frame
        y = (1 - (torch.arange(height, device=device) + 0.5) / height * 2) * self.half_frame
        directions = (
            forward[:, None, None]
            + x[None, None, :, None] * right[:, None, None]
            + y[None, :, None, None] * up[:, None, None]
        )
        directions = torch.nn.functional.normalize(directions, dim=-1)
        return position[:, None, None].expand_as(directions), directions
