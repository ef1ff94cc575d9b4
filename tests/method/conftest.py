from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mpod_pipeline.fields.hash_encoding import HashGridParameters
from mpod_pipeline.fields.outline_field import OutlineFieldParameters
from mpod_pipeline.method.cutouts import Cutouts
from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior, load_novel_view_prior, load_text_to_image_prior
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

SMALL_FIELD = OutlineFieldParameters(
    hash_grid=HashGridParameters(levels=6, features_per_level=4, log2_table_size=12, finest_resolution=64),
    mlp_width=16,
    occupancy_resolution=16,
)


@pytest.fixture(scope="session")
def novel_view(tmp_path_factory: pytest.TempPathFactory) -> NovelViewPrior:
    folder: Path = save_tiny_novel_view(tmp_path_factory.mktemp("method") / "novel_view")
    return load_novel_view_prior(folder, precision="float32")


@pytest.fixture(scope="session")
def text_to_image(tmp_path_factory: pytest.TempPathFactory) -> TextToImagePrior:
    folder: Path = save_tiny_text_to_image(tmp_path_factory.mktemp("method") / "text_to_image")
    return load_text_to_image_prior(folder, precision="float32")


def disc() -> NDArray[np.uint8]:
    """A red disc, half the frame wide, with a blue lower half, [64, 64, 4]."""
    y, x = np.mgrid[0:64, 0:64] + 0.5
    inside = (x - 32) ** 2 + (y - 32) ** 2 < 16**2
    picture = np.zeros((64, 64, 4), np.uint8)
    picture[..., :3] = np.where((y < 32)[..., None], [200, 30, 30], [30, 30, 200])
    picture[..., 3] = inside * 255
    return picture


@pytest.fixture(scope="session")
def cutout() -> NDArray[np.uint8]:
    return disc()


@pytest.fixture(scope="session")
def cutouts(cutout: NDArray[np.uint8]) -> Cutouts:
    """The disc as a product's only photo, taken from its height."""
    return Cutouts.of(cutout, 0.0)
