from __future__ import annotations

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets import PhotoFolder
from mpod_pipeline.datasets.loading import load_from


def test_what_a_dataset_says_comes_without_kedros_wrapping_and_its_causes_have_an_end() -> None:
    catalog = DataCatalog({"photos": PhotoFolder(path="/dev/null/none")})
    with pytest.raises(SetupError, match="does not exist") as caught:
        load_from(catalog, "photos")
    error: BaseException | None = caught.value
    seen = set()
    while error:
        assert id(error) not in seen
        seen.add(id(error))
        error = error.__cause__


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(DatasetError, match="has not been saved yet"):
        load_from(DataCatalog({"nothing": MemoryDataset()}), "nothing")
    assert load_from(DataCatalog({"one": MemoryDataset(1)}), "one") == 1
