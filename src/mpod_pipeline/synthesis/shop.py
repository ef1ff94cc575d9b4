"""Photos as a shop has them: a white or grey backdrop, a soft shadow, the product somewhere near the middle."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.product import project
from mpod_pipeline.synthesis.studio import Scene


@dataclass(frozen=True)
class Backdrop:
    """Paper behind the product and where the product stands on it (fractions of the picture)."""

    size: tuple[int, int] = (1200, 960)  # width, height in pixels
    paper: tuple[int, int, int] = (244, 244, 243)
    falloff: float = 0.06  # how much darker the corners are
    centre: tuple[float, float] = (0.5, 0.5)
    frame: int = 1000  # pixels of the camera's square frame, in which the product fills 80%
    shadow: float = 0.35

    @property
    def corner(self) -> tuple[int, int]:
        """Row and column of the photo at which the camera's frame begins."""
        (width, height), (x, y) = self.size, self.centre
        return round(y * height - self.frame / 2), round(x * width - self.frame / 2)


WHITE = Backdrop(centre=(0.46, 0.53), frame=1050)
GREY = Backdrop(size=(1000, 1100), paper=(206, 207, 210), centre=(0.54, 0.52), frame=900, falloff=0.1, shadow=0.45)


def shop_photo(scene: Scene, elevation_deg: float, backdrop: Backdrop) -> NDArray[np.uint8]:
    """The product from azimuth 0 in front of paper, [H, W, 3]."""
    width, height = backdrop.size
    camera = Cameras.at(0.0, elevation_deg)
    product = scene.photograph(camera, backdrop.frame)[0].astype(np.float32) / 255
    top, left = backdrop.corner

    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    distance = np.hypot((x / width - 0.5), (y / height - 0.45))
    picture = np.asarray(backdrop.paper, np.float32) / 255 * (1 - backdrop.falloff * distance[..., None] ** 2 * 4)
    shadow = _paste(_contact_shadow(scene, camera, backdrop.frame), (height, width), top, left)
    picture = picture * (1 - backdrop.shadow * shadow[..., None])
    alpha = _paste(product[..., 3], (height, width), top, left)[..., None]
    colour = np.stack([_paste(product[..., c] * product[..., 3], (height, width), top, left) for c in range(3)], -1)
    grain = np.random.default_rng(0).normal(0, 0.004, picture.shape)
    return (np.clip(picture * (1 - alpha) + colour + grain, 0, 1) * 255 + 0.5).astype(np.uint8)


def true_mask(scene: Scene, elevation_deg: float, backdrop: Backdrop) -> NDArray[np.bool_]:
    """Where the product is in its `shop_photo`, [H, W]."""
    width, height = backdrop.size
    alpha = scene.photograph(Cameras.at(0.0, elevation_deg), backdrop.frame)[0][..., 3].astype(np.float32)
    return _paste(alpha, (height, width), *backdrop.corner) > 127


def _contact_shadow(scene: Scene, camera: Cameras, frame: int) -> NDArray[np.float32]:
    """Where the product keeps light from the floor, [frame, frame] in [0, 1]: its footprint, blurred."""
    world = scene.placement.apply(scene.product.vertices)
    floor = world[:, 2].min()
    low = world[world[:, 2] < floor + 0.12 * (world[:, 2].max() - floor)].copy()
    low[:, 2] = floor
    ndc = project(camera, low)[0]
    pixels = np.stack([(ndc[:, 0] + 1) / 2 * frame, (1 - ndc[:, 1]) / 2 * frame], -1).astype(np.int32)
    shadow = np.zeros((frame, frame), np.float32)
    cv2.fillConvexPoly(shadow, cv2.convexHull(pixels), 1.0)
    return cv2.GaussianBlur(shadow, (0, 0), frame * 0.018).astype(np.float32)


def _paste(image: NDArray[np.float32], shape: tuple[int, int], top: int, left: int) -> NDArray[np.float32]:
    """``image`` at (top, left) of a black canvas, cut at its borders."""
    canvas = np.zeros(shape, np.float32)
    height, width = image.shape
    t, x = max(top, 0), max(left, 0)
    b, r = min(top + height, shape[0]), min(left + width, shape[1])
    canvas[t:b, x:r] = image[t - top : b - top, x - left : r - left]
    return canvas
