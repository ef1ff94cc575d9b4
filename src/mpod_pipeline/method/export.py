"""From stage 2's surface to the mesh that shops take: few triangles, UVs, one baked texture."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from mpod_pipeline.base.parameters import LongSideM, Share, SizeParameters
from mpod_pipeline.fields.painted_surface import PaintedSurface
from mpod_pipeline.geometry.glb import LARGEST_TEXTURE, MOST_TRIANGLES, ROUGHNESS, Material, TexturedMesh
from mpod_pipeline.geometry.mesh import Mesh, simplify
from mpod_pipeline.geometry.normal_map import normal_map, normals_of_fine
from mpod_pipeline.geometry.occlusion import occlusion_texture
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.method.cutouts import Cutouts, extent
from mpod_pipeline.method.photo_texture import with_photos
from mpod_pipeline.method.size import stretch_to
from mpod_pipeline.rendering.backend import Backend

#: Pixels of a product in its cutout for which a texture of 1024 texels would be too few.
FULL_OF_PIXELS = 1000


class ExportParameters(SizeParameters):
    """The exported file. Changes of these do not refine the details again."""

    long_side_m: LongSideM = Field(
        0.3, description="metres of the model's longest side, as a photo does not tell its size"
    )
    triangles: PositiveInt = Field(20_000, lt=MOST_TRIANGLES, description="at most")
    texture_size: PositiveInt | None = Field(
        None, le=LARGEST_TEXTURE, description="texels a side; null: 1024, or 2048 where the photo has the pixels"
    )
    category: str = Field("", description="what the product is, for its roughness where that is not set")
    roughness: Share | None = Field(None, description="0: a mirror, 1: chalk; null: as of its category")
    metalness: Share = Field(0.0, description="0: glaze, cloth, wood, plastic; 1: bare metal")
    occlusion_size: int = Field(512, ge=0, le=LARGEST_TEXTURE, description="texels of baked occlusion; 0: none")
    normal_map_size: int = Field(
        0, ge=0, le=LARGEST_TEXTURE, description="texels of a map of the normals before simplification; 0: none"
    )
    studio_light: Literal["keep", "remove"] | None = Field(
        None, description="the photo's light in the colours: kept or taken off; null: as `unlit` needs it"
    )
    photo_pixels: bool = Field(True, description="whether the photos' own pixels are baked where they show the surface")
    unlit: bool = Field(False, description="whether viewers show the photo's colours as they are, without light")

    @property
    def takes_light_off(self) -> bool:
        """Whether the photo's light is estimated and taken off. Viewers that add no light of their own need it."""
        return (self.studio_light or ("keep" if self.unlit else "remove")) == "remove"


@torch.no_grad()
def export_model(surface: PaintedSurface, photos: Cutouts, parameters: ExportParameters) -> TexturedMesh:
    """Cut the number of triangles, and bake one texture: the photos' own pixels where a photo shows the surface well
    (unless that is off), the surface's colours elsewhere. In world units, in the proportions that are told.

    Raises ProductError where the surface is empty.
    """
    p = parameters
    mesh = simplify(Mesh(surface.vertices, surface.faces), p.triangles)
    texture = surface.texture
    backend: Backend = "numba" if texture.backend == "numba" else "torch"  # one picture is not worth a package
    colour = with_photos(texture.colour, mesh, photos, backend) if p.photo_pixels else texture.colour
    made = bake(mesh, colour, p.texture_size or texture_size_for(photos))
    bumpy = _normal_map(made, surface, p.normal_map_size) if p.normal_map_size else None
    baked = stretched(made, stretch_to(np.ptp(made.vertices, axis=0), p))
    roughness = roughness_of(p.category) if p.roughness is None else p.roughness
    occlusion = occlusion_texture(baked, p.occlusion_size) if p.occlusion_size else None
    return replace(baked, material=Material(roughness, p.metalness, occlusion, p.unlit, bumpy))


def texture_size_for(photos: Cutouts) -> int:
    """Texels a side that the front photo can fill: a product is about as long as half of its texture's side."""
    return 2048 if max(extent(photos.front.picture)) >= FULL_OF_PIXELS else 1024


def _normal_map(made: TexturedMesh, surface: PaintedSurface, size: int) -> NDArray[np.uint8]:
    fine = Mesh(surface.vertices, surface.faces)
    vertices, normals = (each.detach().cpu().double().numpy() for each in (fine.vertices, fine.vertex_normals()))
    return normal_map(made, normals_of_fine(vertices, normals), size)


def stretched(mesh: TexturedMesh, factors: NDArray[np.floating]) -> TexturedMesh:
    """The mesh with its axes multiplied by factors [3]."""
    if (factors == 1).all():
        return mesh
    normals = mesh.normals / factors
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-9)
    return replace(mesh, vertices=(mesh.vertices * factors).astype(np.float32), normals=normals.astype(np.float32))


#: What shines more or less than most things, by a word of its category. (Glaze has some 0.3; but what shines shows the
#: dents of a surface, and the models have some.)
ROUGHNESS_OF = {
    0.65: ("mug", "cup", "bowl", "plate", "vase", "teapot", "pottery", "ceramic", "kitchen", "tableware"),
    0.7: ("bottle", "toy", "lamp", "lighting", "helmet", "plastic", "electronics"),
    0.95: ("shoe", "trainer", "sneaker", "bag", "shirt", "jacket", "hat", "sofa", "cushion", "plush", "textile"),
}


def roughness_of(category: str) -> float:
    """By the first of the category's words that is known, in the singular or plural; as of most things otherwise."""
    for word in re.findall(r"[a-z]+", category.lower()):
        for roughness, words in ROUGHNESS_OF.items():
            if word in words or word.removesuffix("s") in words:
                return roughness
    return ROUGHNESS
