"""The catalogs that methods are compared on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mpod_pipeline.datasets import PhotoFolder
from mpod_pipeline.pipelines.make_samples import nodes
from mpod_pipeline.synthesis.views import SPLIT_SEEDS


def test_seventeen_shoes_of_the_test_split() -> None:
    seeds = {family: nodes._seeds_of(family, count) for family, count in nodes.SHOES.items()}
    assert {family: len(some) for family, some in seeds.items()} == {"trainer": 7, "boot": 5, "sandal": 5}
    every = [seed for some in seeds.values() for seed in some]
    assert len(set(every)) == 17 and min(every) >= SPLIT_SEEDS["test"] and max(every) < SPLIT_SEEDS["samples"]


def test_a_shoe_has_a_photo_with_alpha_and_its_true_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "SHOES", {"boot": 1})
    monkeypatch.setattr(nodes, "SHOE_SIZE", 64)
    made = nodes.make_shoes()
    ((name, photo),) = made["photos"].items()
    assert name.startswith("boot-2") and photo.shape == (64, 64, 4)
    assert 0.1 < (photo[..., 3] > 128).mean() < 0.9
    assert made["ground_truth"][name][:4] == b"glTF"


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
