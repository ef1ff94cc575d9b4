"""Three products that no prior is trained on, as photos that a shop would have, with their true models."""

from __future__ import annotations

from typing import Any

import pandas as pd
from PIL import Image

from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.ground_truth import ground_truth_mesh
from mpod_pipeline.synthesis.product import make_product, place
from mpod_pipeline.synthesis.shop import GREY, WHITE, shop_photo
from mpod_pipeline.synthesis.studio import Scene, set_scene

#: Seeds of the "samples" split.
TRAINER, MUG, LAMP = ("trainer", 3_000_002), ("mug", 3_000_009), ("lamp", 3_000_000)
#: How the products are turned, and how high above them the camera stands.
YAW_DEG, ELEVATION_DEG = 4.0, 10.0


def make_samples() -> dict[str, Any]:
    """A JPEG on white, a PNG on grey, and a PNG with alpha; the table of products; and the ground truth."""
    trainer, mug, lamp = (_scene(family, seed) for family, seed in (TRAINER, MUG, LAMP))
    products = pd.DataFrame(
        [
            ("blue-trainer", "Trainer with orange stripes, women's", "Shoes", "blue-trainer.jpg", 0.28, ELEVATION_DEG),
            ("kite-mug", "Kite mug, stoneware", "Kitchen", "kite-mug.png", 0.13, ELEVATION_DEG),
            ("striped-lamp", "Table lamp with striped shade", "Lighting", "striped-lamp.png", 0.45, ELEVATION_DEG),
        ],
        columns=["id", "title", "category", "photo", "long_side_m", "photo_elevation_deg"],
    )
    alpha = lamp.photograph(Cameras.at(0.0, ELEVATION_DEG), 900)[0]
    return {
        "trainer": Image.fromarray(shop_photo(trainer, ELEVATION_DEG, WHITE)),
        "mug": Image.fromarray(shop_photo(mug, ELEVATION_DEG, GREY)),
        "lamp": Image.fromarray(alpha),
        "products": products,
        "ground_truth": {
            name: to_glb(ground_truth_mesh(scene))
            for name, scene in zip(products["id"], (trainer, mug, lamp), strict=True)
        },
    }


def _scene(family: str, seed: int) -> Scene:
    product = make_product(family, seed)
    return set_scene(product, place(product, YAW_DEG, ELEVATION_DEG))
