"""The catalogs that methods are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpod_pipeline.datasets import PhotoFolder
from mpod_pipeline.pipelines.make_test_catalog import nodes
from mpod_pipeline.synthesis.families import HELD_OUT_FAMILY
from mpod_pipeline.synthesis.views import SPLIT_SEEDS, members_of, one_of_each_family


def test_seventeen_shoes_and_twelve_products_of_the_test_split() -> None:
    assert nodes.SHOES == {"trainer": 7, "boot": 5, "sandal": 5}
    shoes = [member for family, count in nodes.SHOES.items() for member in members_of("test", [family], count)]
    others = one_of_each_family("test", nodes.FAMILIES)
    assert len(set(shoes)) == 17 and len({family for family, _ in others}) == 12
    assert HELD_OUT_FAMILY in {family for family, _ in others}
    seeds = [seed for _, seed in [*shoes, *others]]
    assert min(seeds) >= SPLIT_SEEDS["test"] and max(seeds) < SPLIT_SEEDS["samples"]


def test_each_product_has_a_photo_with_alpha_its_height_and_its_true_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "SHOES", {"boot": 1})
    monkeypatch.setattr(nodes, "FAMILIES", 1)
    monkeypatch.setattr(nodes, "PHOTO_SIZE", 64)
    made = nodes.make_test_catalog()
    for folder in ("shoes", "test_products"):
        ((name, photo),) = made[folder].items()
        assert name.startswith(folder) and photo.shape == (64, 64, 4)
        assert 0.1 < (photo[..., 3] > 128).mean() < 0.9
        assert made["ground_truth"][name][:4] == b"glTF"
        (row,) = made["products"][made["products"]["id"] == name].to_dict("records")
        assert row["photo"] == f"{folder}/{name}.png" and 0 <= row["photo_elevation_deg"] <= 20


def test_a_folder_as_realfusions_authors_lay_it_out_is_a_catalog(tmp_path: Path) -> None:
    for name in ("bird_sparrow", "cactus_1"):
        folder = tmp_path / name
        folder.mkdir()
        picture = np.zeros((8, 8, 4), np.uint8)
        picture[2:6, 2:6] = 255
        Image.fromarray(picture).save(folder / "rgba.png")
        Image.fromarray(picture[..., :3]).save(folder / "image.png")
        Image.fromarray(picture[..., 3]).save(folder / "mask.png")
        (folder / "learned_embeds.bin").write_bytes(b"a word")
    photos = PhotoFolder(path=str(tmp_path)).load()
    assert list(photos) == ["bird_sparrow", "cactus_1"] and not photos.remarks
    assert photos["cactus_1"].path == tmp_path / "cactus_1/rgba.png"
    assert photos["cactus_1"]()[:4] == b"\x89PNG"
    Image.fromarray(picture).save(tmp_path / "mug.png")  # a photo beside folders is a catalog as any other
    assert list(PhotoFolder(path=str(tmp_path)).load()) == ["mug"]
