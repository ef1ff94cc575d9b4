"""Photos of other sides: found by their names and by the table, told where a name is nearly right."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.datasets import FurtherPhotos, PhotoFolder, Photos
from tests.datasets.photo_folders import load, reason, write


def sides(photos: Photos, product: str) -> dict[str, tuple[float, bytes]]:
    return {photo.name: (photo.azimuth_deg, photo.data) for photo in photos.further[product]()}


def test_sides_are_told_by_their_names(tmp_path: Path) -> None:
    write(tmp_path, "chair.front.jpg", "chair.back.PNG", "chair.Left.jpg", "mug.jpg", "mug.right.webp", "lamp.jpg")
    photos = load(tmp_path)
    assert {product: read() for product, read in photos.items()} == {
        "chair": b"chair.front.jpg",
        "lamp": b"lamp.jpg",
        "mug": b"mug.jpg",
    }
    assert sides(photos, "chair") == {"back": (180.0, b"chair.back.PNG"), "left": (270.0, b"chair.Left.jpg")}
    assert sides(photos, "mug") == {"right": (90.0, b"mug.right.webp")}
    assert "lamp" not in photos.further
    assert FurtherPhotos(path=str(tmp_path)).load() == photos.further
    assert not photos.remarks


def test_a_side_without_a_front_is_that_products_failure(tmp_path: Path) -> None:
    write(tmp_path, "chair.back.jpg", "mug.jpg")
    photos = load(tmp_path)
    assert list(photos) == ["chair", "mug"]
    assert "chair.back.jpg shows a side of chair, and there is no photo of the front" in reason(photos, "chair")


def test_two_photos_of_one_side_are_that_products_failure(tmp_path: Path) -> None:
    write(tmp_path, "chair.jpg", "chair.back.jpg", "chair.back.png", "mug.jpg", "mug.front.png")
    photos = load(tmp_path)
    assert "Two photos are of the same side (chair.back.jpg, chair.back.png)" in reason(photos, "chair")
    assert "more than one photo" in reason(photos, "mug")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("mug_back.jpg", "mug.back.jpg"), ("mug-left.png", "mug.left.png"), ("mug.rear.jpg", "mug.back.jpg")],
)
def test_a_name_that_is_nearly_a_sides_is_told(tmp_path: Path, name: str, wanted: str) -> None:
    write(tmp_path, "mug.jpg", name)
    photos = load(tmp_path)
    assert len(photos) == 2
    (remark,) = photos.remarks
    assert f"{name} is a product of its own" in remark and f"name it {wanted}" in remark


def test_masks_of_sides_lie_beside_them(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mug.mask.png", "mug.back.jpg", "mug.back.mask.png", "mug.left.mask.png")
    photos = load(tmp_path)
    (back,) = photos.further["mug"]()
    assert back.mask == b"mug.back.mask.png"
    assert list(photos.further["mug"].paths) == ["back at 180", "mask of back"]
    (remark,) = photos.remarks
    assert "mug.left.mask.png" in remark


def test_a_table_names_sides(tmp_path: Path) -> None:
    write(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    photos = load(tmp_path, "id,photo,photo_back,photo_1,azimuth_1_deg\nmug,1.jpg,2.jpg,3.jpg,-45\nlamp,4.jpg,,,\n")
    assert sides(photos, "mug") == {"back": (180.0, b"2.jpg"), "1": (315.0, b"3.jpg")}
    assert "lamp" not in photos.further


@pytest.mark.parametrize("azimuth", ["", "left", "nan", "inf"])
def test_a_numbered_photo_needs_its_azimuth(tmp_path: Path, azimuth: str) -> None:
    write(tmp_path, "1.jpg", "2.jpg")
    photos = load(tmp_path, f"id,photo,photo_1,azimuth_1_deg\nmug,1.jpg,2.jpg,{azimuth}\n")
    assert "needs in the column azimuth_1_deg" in reason(photos, "mug")


def test_beside_a_tables_front_sides_are_found_by_their_names(tmp_path: Path) -> None:
    write(tmp_path, "pictures/77.front.jpg", "pictures/77.back.jpg", "pictures/78.jpg", "pictures/78.left.jpg")
    photos = load(tmp_path, "id,photo\nmug,pictures/77.front.jpg\nlamp,pictures/78.jpg\n")
    assert sides(photos, "mug") == {"back": (180.0, b"pictures/77.back.jpg")}
    assert sides(photos, "lamp") == {"left": (270.0, b"pictures/78.left.jpg")}


def test_a_row_of_its_own_is_no_side(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mug.back.jpg")
    photos = load(tmp_path, "id,photo\nmug,mug.jpg\nother,mug.back.jpg\n")
    assert list(photos) == ["mug", "other"] and not photos.further


def test_a_table_without_photos_speaks_of_those_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path, "mug.front.jpg", "mug.back.jpg", "lamp.jpg")
    photos = load(tmp_path, "id,long_side_m\nmug,0.1\nchair,1\nlamp,-1\n")
    assert photos["mug"]() == b"mug.front.jpg"
    assert sides(photos, "mug") == {"back": (180.0, b"mug.back.jpg")}
    assert "There is no photo chair.jpg" in reason(photos, "chair")
    assert "long_side_m" in reason(photos, "lamp")


def test_a_table_without_photos_has_one_row_for_an_id_and_an_id_for_each_row(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "lamp.jpg")
    photos = load(tmp_path, "id,long_side_m\nmug,0.1\n,1\nmug,0.2\nlamp,1\n,2\nsofa,1\nsofa,2\n")
    assert photos["lamp"]() == b"lamp.jpg"
    assert "2 rows for the id 'mug' (lines 2, 4)" in reason(photos, "mug")
    assert "2 rows for the id 'sofa'" in reason(photos, "sofa")
    nameless = [product for product in photos if product not in ("mug", "lamp", "sofa")]
    assert len(nameless) == 2 and all("has no id" in reason(photos, product) for product in nameless)


def test_a_side_that_is_gone_is_the_products_failure_when_it_is_read(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mug.back.jpg")
    photos = PhotoFolder(path=str(tmp_path)).load()
    (tmp_path / "mug.back.jpg").unlink()
    with pytest.raises(ProductError, match="does not exist"):
        photos.further["mug"]()


def test_one_photo_as_the_catalog_has_its_sides_too(tmp_path: Path) -> None:
    write(tmp_path, "mug.front.jpg", "mug.back.jpg", "lamp.jpg", "lamp.left.png")
    mug = load(tmp_path / "mug.front.jpg")
    assert {product: read() for product, read in mug.items()} == {"mug": b"mug.front.jpg"}
    assert sides(mug, "mug") == {"back": (180.0, b"mug.back.jpg")}
    assert sides(load(tmp_path / "lamp.jpg"), "lamp") == {"left": (270.0, b"lamp.left.png")}
    back = load(tmp_path / "mug.back.jpg")
    assert list(back) == ["mug.back"] and not back.further


def test_an_empty_cell_leaves_the_sides_to_their_names(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "a.back.png", "b.png", "bb.png", "b.left.png")
    photos = load(tmp_path, "id,photo,photo_back\na,a.png,\nb,b.png,bb.png\n")
    assert sides(photos, "a") == {"back": (180.0, b"a.back.png")}
    assert sides(photos, "b") == {"back": (180.0, b"bb.png")}


def test_a_row_of_its_own_in_a_folder_below_is_no_side(tmp_path: Path) -> None:
    write(tmp_path, "l/c.png", "l/c.back.png")
    assert not load(tmp_path, "id,photo\na,l/c.png\nb,l/c.back.png\n").further


def test_a_table_that_is_read_is_not_told_to_be_absent(tmp_path: Path) -> None:
    write(tmp_path, "m.png")
    assert not load(tmp_path, "id,long_side_m\nm,0.1\n").remarks
