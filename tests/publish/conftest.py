"""A product's GLB as the method exports it, small; and what the steps that publish get beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from mpod_pipeline.geometry.glb import TexturedMesh, to_glb
from mpod_pipeline.geometry.mesh import Mesh
from mpod_pipeline.geometry.texture import bake
from mpod_pipeline.method.cutouts import Cutout, Cutouts
from tests.geometry.shapes import ball

LONG_SIDE_M = 0.12
#: No validator of Khronos' lies there.
NOWHERE = Path("no-such-folder")


def striped(points: Tensor) -> Tensor:
    """Grey from below to above, with a red front: [N, 3]."""
    grey = (points[:, 2:] * 0.4 + 0.5).expand(-1, 3).clone()
    grey[points[:, 0] > 0.3] = torch.tensor([0.7, 0.2, 0.2])
    return grey


@pytest.fixture(scope="session")
def mesh() -> TexturedMesh:
    """A ball, a little flat: 1 wide and deep, 0.8 high."""
    whole = ball(0.5, resolution=16)
    scaled = Mesh(whole.vertices * torch.tensor([1.0, 1.0, 0.8]), whole.faces)
    return bake(scaled, striped, 512)


@pytest.fixture(scope="session")
def glb(mesh: TexturedMesh) -> bytes:
    return to_glb(mesh, LONG_SIDE_M, name="ball", made_by={"fingerprint": "f00d"})


@pytest.fixture(scope="session")
def photos() -> Cutouts:
    """A grey disc, from the front and from the left."""
    y, x = np.mgrid[:64, :64] - 31.5
    picture = np.full((64, 64, 4), 128, np.uint8)
    picture[..., 3] = np.where(x**2 + y**2 < 25**2, 255, 0)
    return Cutouts((Cutout(picture, 10.0), Cutout(picture, 10.0, 90.0, "left")))
