"""From stage 2's surface to the mesh that shops take: few triangles, UVs, one baked texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from mpod_pipeline.base.parameters import LongSideM, SizeParameters
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.geometry.glb import LARGEST_TEXTURE, MOST_TRIANGLES, TexturedMesh
from mpod_pipeline.geometry.mesh import Mesh, simplify
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.method.photo_texture import with_photos
from mpod_pipeline.method.size import stretch_to
from mpod_pipeline.rendering.backend import Backend


class ExportParameters(SizeParameters):
    """The exported file. Changes of these do not refine the details again."""

    long_side_m: LongSideM = Field(
        0.3, description="metres of the model's longest side, as a photo does not tell its size"
    )
    triangles: PositiveInt = Field(20_000, lt=MOST_TRIANGLES, description="at most")
    texture_size: PositiveInt = Field(1024, le=LARGEST_TEXTURE, description="texels a side")


@torch.no_grad()
def export_model(surface: PaintedSurface, photos: Cutouts, parameters: ExportParameters) -> TexturedMesh:
    """Cut the number of triangles, and bake one texture: the photos' own pixels where a photo shows the surface well,
    the surface's colours elsewhere. In world units, in the proportions that are told.

    Raises ProductError where the surface is empty.
    """
    p = parameters
    mesh = simplify(Mesh(surface.vertices, surface.faces), p.triangles)
    texture = surface.texture
    backend: Backend = "numba" if texture.backend == "numba" else "torch"  # one picture is not worth a package
    colour = with_photos(texture.colour, mesh, photos, backend)
    made = bake(mesh, colour, p.texture_size)
    return stretched(made, stretch_to(np.ptp(made.vertices, axis=0), p))


def stretched(mesh: TexturedMesh, factors: NDArray[np.floating]) -> TexturedMesh:
    """The mesh with its axes multiplied by factors [3]."""
    if (factors == 1).all():
        return mesh
    normals = mesh.normals / factors
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
    return replace(mesh, vertices=(mesh.vertices * factors).astype(np.float32), normals=normals.astype(np.float32))
