from __future__ import annotations

from pathlib import Path

import pytest
from kedro.io import DatasetError

from mpod_pipeline.datasets import PhotoFolder, Photos, ProductSettings
from mpod_pipeline.errors import ProductError


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


def load(folder: Path, table: str | None = None) -> Photos:
    if table is not None:
        (folder / "products.csv").write_text(table, encoding="utf-8")
    return PhotoFolder(path=str(folder)).load()


def reason(photos: Photos, product: str) -> str:
    """The sentence by which the photo fails."""
    with pytest.raises(ProductError) as error:
        photos[product]()
    return str(error.value)


def test_ids_are_file_names_of_pictures_in_any_case(tmp_path: Path) -> None:
    write(tmp_path, "shoe.JPG", "mug.Jpeg", "v1.2.png", "notes.txt", ".hidden.png", "below/lamp.png")
    photos = load(tmp_path)
    assert list(photos) == ["mug", "shoe", "v1.2"]
    assert photos["shoe"]() == b"shoe.JPG"


def test_masks_lie_beside_the_photos(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "mug.jpg", "mug.mask.png", "shoe.png", "pictures/1.jpg", "pictures/lamp.mask.png")
    photos = load(tmp_path)
    assert list(photos) == ["mug", "shoe"]
    assert {product: mask() for product, mask in photos.masks().items()} == {"mug": b"mug.mask.png"}
    assert not caplog.messages
    listed = load(tmp_path, "id,photo\nlamp,pictures/1.jpg\nlost,\n")
    assert {product: mask() for product, mask in listed.masks().items()} == {
        "lamp": b"pictures/lamp.mask.png"
    }


def test_a_mask_of_no_product_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "mug.jpg", "mugg.mask.png")
    assert list(load(tmp_path)) == ["mug"]
    (warning,) = caplog.messages
    assert "mugg.mask.png" in warning


def test_an_empty_folder_has_no_photos(tmp_path: Path) -> None:
    assert len(load(tmp_path)) == 0


def test_an_absent_folder_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        load(tmp_path / "absent")


def test_two_files_of_one_name_fail_that_product(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mug.png", "shoe.png")
    photos = load(tmp_path)
    assert list(photos) == ["mug", "shoe"]
    assert "more than one photo" in reason(photos, "mug")
    assert photos["shoe"]() == b"shoe.png"


def test_a_table_names_the_products_in_its_order(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "pictures/2.jpg", "unlisted.png")
    photos = load(tmp_path, "\ufeffid,title,photo\nshoe,A shoe,pictures/2.jpg\nmug,A mug,1.png\n")
    assert list(photos) == ["shoe", "mug"]
    assert photos["shoe"]() == b"pictures/2.jpg"


def test_a_table_may_say_more_of_single_products(tmp_path: Path) -> None:
    settings = ProductSettings(path=str(tmp_path))
    assert settings.load() == {}
    (tmp_path / "products.csv").write_text(
        "id,photo,long_side_m,price,photo_elevation_deg\n"
        " mug ,1.png, 0.12 ,9,\nlamp,2.png,,,15\nshoe,3.png,,,\nshort,4.png\nlong,5.png,1,2,3,4,5\n"
    )
    assert settings.load() == {
        "mug": {"long_side_m": "0.12"},
        "lamp": {"photo_elevation_deg": "15"},
        "shoe": {},
        "short": {},
        "long": {"long_side_m": "1", "photo_elevation_deg": "3"},
    }
    assert "needs quotes" in reason(PhotoFolder(path=str(tmp_path)).load(), "long")  # who wrote 1,2 meant 1.2


@pytest.mark.parametrize(
    ("column", "meant"),
    [
        ("long_side", "long_side_m"),
        ("Long_Side_M", "long_side_m"),
        ("photo_elevation", "photo_elevation_deg"),
    ],
)
def test_a_column_that_is_nearly_a_setting_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, column: str, meant: str
) -> None:
    load(tmp_path, f"id,photo,{column},title,price\nmug,1.png,1,a,2\n")
    (warning,) = caplog.messages
    assert repr(column) in warning and repr(meant) in warning


def test_other_columns_are_nobodys_business(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    load(tmp_path, "id,photo,long_side_m,photo_elevation_deg,size,colour,photo2\nmug,1.png,1,2,3,4,5\n")
    assert not caplog.messages


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("mug,lost.png", "does not exist"),
        ("mug,", "names no photo"),
        ("mug", "names no photo"),
        ("mug,../secret.png", "does not lie in the catalog's folder"),
        ("mug,a/../../secret.png", "does not lie in the catalog's folder"),
        ("mug,..\\secret.png", "does not lie in the catalog's folder"),
        ("mug,/etc/secret.png", "does not lie in the catalog's folder"),
        ("mug,C:\\secret.png", "does not lie in the catalog's folder"),
        ("mug,1.txt", "no picture's file name"),
    ],
)
def test_a_row_without_a_usable_photo_fails_that_product(tmp_path: Path, row: str, sentence: str) -> None:
    folder = tmp_path / "photos"
    write(folder, "1.png", "1.txt", "../secret.png")
    photos = load(folder, f"id,photo\n{row}\nshoe,1.png\n")
    assert list(photos) == ["mug", "shoe"]
    assert sentence in reason(photos, "mug")
    assert photos["shoe"]() == b"1.png"


@pytest.mark.parametrize("product", ["../evil", "a/b", "", ".hidden", "x" * 300, "mean"])
def test_an_id_that_is_no_file_name_gets_a_stand_in_and_fails(tmp_path: Path, product: str) -> None:
    write(tmp_path, "1.png")
    photos = load(tmp_path, f"id,photo\n{product},1.png\nshoe,1.png\n")
    stand_in, shoe = photos
    assert shoe == "shoe"
    assert reason(photos, stand_in)
    assert "/" not in stand_in and ".." not in stand_in and len(stand_in) < 100
    assert photos.written_as(stand_in) == (product or "(line 2)")
    assert photos.written_as("shoe") == "shoe"


def test_different_unusable_ids_stay_different(tmp_path: Path) -> None:
    write(tmp_path, "1.png")
    photos = load(tmp_path, "id,photo\na/b,1.png\na\\b,1.png\na/b,1.png\n")
    assert len(photos) == 2


def test_an_id_given_twice_fails_once(tmp_path: Path) -> None:
    write(tmp_path, "1.png", "2.png")
    photos = load(tmp_path, "id,photo\nmug,1.png\nmug,2.png\n")
    assert list(photos) == ["mug"]
    assert "more than one photo" in reason(photos, "mug")


@pytest.mark.parametrize(("first", "second"), [("Mug", "mug"), ("caf\u00e9", "cafe\u0301")])
def test_ids_that_some_file_systems_take_for_one_do_not_share_files(
    tmp_path: Path, first: str, second: str
) -> None:
    write(tmp_path, "1.png", "2.png")
    photos = load(tmp_path, f"id,photo\n{first},1.png\n{second},2.png\n")
    kept, stand_in = photos
    assert kept == first and photos[first]() == b"1.png"
    assert photos.written_as(stand_in) == second
    assert "macOS and Windows" in reason(photos, stand_in)


@pytest.mark.parametrize("table", ["", "name,photo\n", "id,title\n"])
def test_a_table_without_its_columns_is_a_wrong_setting(tmp_path: Path, table: str) -> None:
    with pytest.raises(DatasetError, match="no column"):
        load(tmp_path, table)


def test_a_table_that_is_no_text_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_bytes(b"id,photo\n\xff\xfe\x00,1.png\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        PhotoFolder(path=str(tmp_path)).load()
