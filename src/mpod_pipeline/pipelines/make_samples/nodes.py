"""Three products that no prior is trained on, as photos that a shop would have, with their true models."""

from __future__ import annotations

from itertools import islice
from typing import Any

import pandas as pd
from PIL import Image

from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.ground_truth import ground_truth_mesh
from mpod_pipeline.synthesis.product import make_product, place
from mpod_pipeline.synthesis.shop import GREY, WHITE, shop_photo
from mpod_pipeline.synthesis.studio import Scene, set_scene
from mpod_pipeline.synthesis.views import scene_of, split_members

#: Seeds of the "samples" split.
TRAINER, MUG, LAMP = ("trainer", 3_000_002), ("mug", 3_000_009), ("lamp", 3_000_000)
#: How the products are turned, and how high above them the camera stands.
YAW_DEG, ELEVATION_DEG = 4.0, 10.0
#: How many shoes of which family, and pixels of their photos.
SHOES = {"trainer": 7, "boot": 5, "sandal": 5}
SHOE_SIZE = 512


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


def make_shoes() -> dict[str, Any]:
    """Seventeen shoes of the test split, PNGs with alpha by name, and their true models: in place of the paper's
    TBPR-Shoes, which nobody else has.
    """
    photos, truth = {}, {}
    for family, count in SHOES.items():
        for seed in _seeds_of(family, count):
            scene, elevation = scene_of(family, seed)
            name = f"{family}-{seed}"
            photos[name] = scene.photograph(Cameras.at(0.0, elevation), SHOE_SIZE)[0]
            truth[name] = to_glb(ground_truth_mesh(scene))
    return {"photos": photos, "ground_truth": truth}


def _seeds_of(family: str, count: int) -> list[int]:
    """The first so many of the family's in the test split."""
    members = (seed for other, seed in split_members("test", 40 * count) if other == family)
    return list(islice(members, count))


def _scene(family: str, seed: int) -> Scene:
    product = make_product(family, seed)
    return set_scene(product, place(product, YAW_DEG, ELEVATION_DEG))
