"""Products of the test split as cutouts, with their true models."""

from __future__ import annotations

from typing import Any

import pandas as pd
from tqdm import tqdm

from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.ground_truth import ground_truth_mesh
from mpod_pipeline.synthesis.views import members_of, one_of_each_family, scene_of

#: How many shoes of which family: in place of the paper's TBPR-Shoes, which nobody else has.
SHOES = {"trainer": 7, "boot": 5, "sandal": 5}
#: How many products, each of another family; one of them no prior was trained on.
FAMILIES = 12
PHOTO_SIZE = 512


def make_test_catalog() -> dict[str, Any]:
    """Two sets of photos, PNGs with alpha by name; the table that makes one catalog of them; and the ground truth."""
    shoes = [member for family, count in SHOES.items() for member in members_of("test", [family], count)]
    sets = {"shoes": shoes, "test_products": one_of_each_family("test", FAMILIES)}
    photos: dict[str, dict[str, Any]] = {name: {} for name in sets}
    rows, truth = [], {}
    members = [(name, *member) for name, those in sets.items() for member in those]
    for folder, family, seed in tqdm(members, desc="photograph"):
        scene, elevation = scene_of(family, seed)
        product = f"{folder}-{family}-{seed}"
        photos[folder][product] = scene.photograph(Cameras.at(0.0, elevation), PHOTO_SIZE)[0]
        truth[product] = to_glb(ground_truth_mesh(scene))
        rows.append((product, f"{folder}/{product}.png", round(elevation, 1)))
    products = pd.DataFrame(rows, columns=["id", "photo", "photo_elevation_deg"])
    return {**photos, "products": products, "ground_truth": truth}
