from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from kedro_datasets._typing import ImagePreview
from PIL import Image

from mpod_pipeline.base.atomic import whole_file
from mpod_pipeline.datasets import MeshPartitions, PicturePartitions, ProductPartitions
from tests.command import ROOT


@pytest.fixture
def numbers(tmp_path: Path) -> ProductPartitions:
    return ProductPartitions(path=str(tmp_path / "numbers"), format="json")


def test_an_absent_folder_is_empty(numbers: ProductPartitions) -> None:
    partitions = numbers.load()
    assert (list(partitions), len(partitions), "a" in partitions) == ([], 0, False)
    with pytest.raises(KeyError):
        partitions["a"]


def test_loading_reads_nothing_until_called(numbers: ProductPartitions) -> None:
    numbers.save({"b": 2, "a": 1})
    partitions = numbers.load()
    partitions.path("b").write_text("broken")
    assert list(partitions) == ["a", "b"]
    assert partitions["a"]() == 1
    with pytest.raises(ValueError):
        partitions["b"]()


def test_files_that_come_later_are_seen(numbers: ProductPartitions) -> None:
    partitions = numbers.load()
    numbers.save({"a": 1})
    assert list(partitions) == ["a"]


def test_saving_adds_replaces_and_removes(numbers: ProductPartitions) -> None:
    numbers.save({"a": 1, "b": 2})
    numbers.save({"b": 3})
    numbers.save({"a": None, "never": None})
    assert {product: read() for product, read in numbers.load().items()} == {"b": 3}


def test_ids_with_dots_spaces_and_other_alphabets_are_kept(numbers: ProductPartitions) -> None:
    ids = {"v1.2", "Größe 42 (rot)", "靴"}
    numbers.save(dict.fromkeys(ids, 1))
    assert set(numbers.load()) == ids


@pytest.mark.parametrize("product", ["", "../a", "a/b", "a\\b", ".hidden", "a..b", "x" * 200, "a\nb", " a", "mean"])
def test_ids_that_are_no_file_names_are_refused(numbers: ProductPartitions, product: str) -> None:
    with pytest.raises(DatasetError):
        numbers.save({product: 1})
    assert product not in numbers.load()
    with pytest.raises(ValueError):
        numbers.load().path(product)


def test_a_value_that_cannot_be_written_leaves_the_old_file(numbers: ProductPartitions) -> None:
    numbers.save({"a": 1})
    with pytest.raises(DatasetError):
        numbers.save({"a": object()})
    assert numbers.load()["a"]() == 1
    assert [path.name for path in numbers.path.iterdir()] == ["a.json"]


def test_an_unfinished_file_is_neither_listed_nor_in_the_way(numbers: ProductPartitions) -> None:
    numbers.save({"a": 1})
    (numbers.path / ".a.part.json").write_text('{"half')  # what a kill leaves
    (numbers.path / ".b.part.json").write_text('{"half')
    assert list(numbers.load()) == ["a"]
    numbers.save({"a": 2})
    assert numbers.load()["a"]() == 2
    assert sorted(path.name for path in numbers.path.iterdir()) == [".b.part.json", "a.json"]


def test_whole_file_shows_nothing_until_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "a.txt"
    with whole_file(target) as path:
        path.write_text("new")
        assert not target.exists()
        assert path.parent == target.parent  # on the same file system, or the rename would not be one step
    assert target.read_text() == "new"


def test_partitions_show_themselves(numbers: ProductPartitions) -> None:
    assert repr(numbers.load()) == "numbers of 0 products"
    numbers.save({"mug": 1})
    assert repr(numbers.load()) == "numbers of 1 product: mug"
    numbers.save(dict.fromkeys("gfedcba", 1))
    assert repr(numbers.load()) == "numbers of 8 products: a, b, c, d, e and 3 more"


def test_what_is_no_file_is_no_partition(numbers: ProductPartitions) -> None:
    (numbers.path / "a.json").mkdir(parents=True)
    assert list(numbers.load()) == [] and "a" not in numbers.load()
    with pytest.raises(DatasetError, match=r"a\.json cannot be written: Is a directory"):
        numbers.save({"a": 1})
    (numbers.path / "b").touch()
    assert list(ProductPartitions(path=str(numbers.path / "b"), format="json").load()) == []


def test_texts_that_utf8_lacks_are_kept_in_json(numbers: ProductPartitions) -> None:
    numbers.save({"a": "caf\udce9"})
    assert numbers.load()["a"]() == "caf\udce9"


def test_json_nested_beyond_all_measure_cannot_be_read(numbers: ProductPartitions) -> None:
    numbers.save({"a": 1})
    numbers.load().path("a").write_text("[" * 200_000)
    with pytest.raises(ValueError, match="nested too deep"):
        numbers.load()["a"]()


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="jpeg2000"):
        ProductPartitions(path=str(tmp_path), format="jpeg2000")


def shown(preview: ImagePreview) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(preview)))


@pytest.mark.parametrize("size", [(256, 256), (2304, 256), (300, 900)])
@pytest.mark.parametrize("products", [1, 3, 6, 9])
def test_previews_have_about_the_shape_of_the_panel_that_shows_them(
    tmp_path: Path, size: tuple[int, int], products: int
) -> None:
    pictures = PicturePartitions(path=str(tmp_path))
    pictures.save({str(number): np.full((*size[::-1], 3), number, np.uint8) for number in range(products)})
    width, height = shown(pictures.preview()).size
    assert width <= 1200 and height <= 800
    assert 0.25 < width / height < 4 or products == 1


def test_a_preview_has_the_first_pictures_in_their_order_on_white(tmp_path: Path) -> None:
    pictures = PicturePartitions(path=str(tmp_path))
    clear = np.zeros((60, 60, 4), np.uint8)
    pictures.save({"a": np.full((60, 120, 3), (255, 0, 0), np.uint8), "b": clear})
    preview = shown(pictures.preview())
    width, height = preview.size
    across = [preview.getpixel((width * x // 4, height // 4)) for x in (1, 3)]
    down = [preview.getpixel((width // 2, height * y // 4)) for y in (1, 3)]
    assert [(255, 0, 0), (255, 255, 255)] in (across, down)


def test_models_are_previewed_from_four_sides_and_broken_ones_left_out(tmp_path: Path) -> None:
    meshes = MeshPartitions(path=str(tmp_path))
    meshes.save({"broken": b"no GLB"})
    assert shown(meshes.preview()).size == (1, 1)
    meshes.save({"mug": (ROOT / "data/01_raw/ground_truth/kite-mug.glb").read_bytes()})
    preview = np.asarray(shown(meshes.preview()))
    views = np.split(preview, 4, axis=1)
    assert all(0.1 < (view != view[0, 0]).any(axis=2).mean() < 0.9 for view in views)


def test_the_preview_of_nothing_is_a_picture(tmp_path: Path) -> None:
    assert shown(PicturePartitions(path=str(tmp_path)).preview()).size == (1, 1)
