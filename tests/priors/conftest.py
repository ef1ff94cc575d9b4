from __future__ import annotations

from pathlib import Path

import pytest

from mpod_pipeline.priors import NovelViewPrior, TextToImagePrior, load_novel_view_prior, load_text_to_image_prior
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image


@pytest.fixture(scope="session")
def text_to_image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_text_to_image(tmp_path_factory.mktemp("priors") / "text_to_image")


@pytest.fixture(scope="session")
def novel_view_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_novel_view(tmp_path_factory.mktemp("priors") / "novel_view")


@pytest.fixture(scope="session")
def text_to_image(text_to_image_folder: Path) -> TextToImagePrior:
    return load_text_to_image_prior(text_to_image_folder, precision="float32")


@pytest.fixture(scope="session")
def novel_view(novel_view_folder: Path) -> NovelViewPrior:
    return load_novel_view_prior(novel_view_folder, precision="float32")
