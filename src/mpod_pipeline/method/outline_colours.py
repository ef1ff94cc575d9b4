"""The colours with which stage 1's field is seen: where stage 2's texture starts, and what it is held to.

A ray sees a field's colours mixed over the fog in front of a body and its first layers. At the one depth where the mesh
lies the field may hold any colour, often a pale one, because nothing ever made it right there by itself. And a texture
that only the photo pulls at drifts where the photo does not see, because all of it shares a network.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.method.photo_texture import facing_cosine
from mpod_pipeline.rendering.backend import Backend
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from mpod_pipeline.rendering.volume import on_background

#: Points whose normals are turned to a photo's camera by more than this cosine are the photo's to paint.
FACING = 0.25
#: The first fit to the colours: steps, and the learning rate of table and network.
STEPS, RATE = 60, 0.01
#: Points per iteration.
BATCH = 8192


@dataclass(frozen=True)
class OutlineColours:
    """Colours of points on the surface."""

    points: Tensor  # [N, 3]
    colours: Tensor  # [N, 3] in [0, 1]

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        field: OutlineField,
        mesh: Mesh,
        cameras: Cameras,
        photo_cameras: Cameras,
        resolution: int,
        backend: Backend = "numba",
    ) -> OutlineColours:
        """The field on white as cameras see it, at the points of the mesh that lie under the pixels, except for those
        that face a photo's camera. backend: the rasteriser's.
        """
        image = field.seen_by(cameras, resolution, 4.0 / resolution)
        attributes = torch.cat([mesh.vertices, mesh.vertex_normals()], dim=1)
        raster = rasterize(mesh.vertices, mesh.faces, attributes, cameras, resolution, backend)
        points, normals = raster.attributes.split(3, dim=-1)
        cosines = torch.stack([facing_cosine(points, normals, camera.to(points.device)) for camera in photo_cameras])
        turned = cosines.amax(dim=0) < FACING
        chosen = turned & (raster.face_index >= 0) & (image.opacity > 0.5)
        seen = on_background(image.colour, image.opacity, 1.0).clamp(0, 1)
        return cls(points[chosen], seen[chosen].float())

    def difference(self, texture: OutlineField, generator: torch.Generator) -> Tensor:
        """Mean squared difference of a texture from them at some of the points, a scalar; 0 where there are none."""
        if len(self.points) == 0:
            return self.points.new_zeros(())
        some = torch.randint(len(self.points), (BATCH,), generator=generator).to(self.points.device)
        return (texture.colour(self.points[some]) - self.colours[some]).square().mean()

    def start_texture(self, field: OutlineField, generator: torch.Generator) -> OutlineField:
        """A copy of the field that has these colours at the surface."""
        texture = copy.deepcopy(field)
        if len(self.points) == 0:
            return texture
        parameters = [*texture.encoding.parameters(), *texture.network.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=RATE, betas=(0.9, 0.99), fused=True)
        for _ in range(STEPS):
            optimizer.zero_grad(set_to_none=True)
            self.difference(texture, generator).backward()
            optimizer.step()
        return texture
