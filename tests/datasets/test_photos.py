from __future__ import annotations

import base64
import errno
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from kedro.io import DatasetError
from PIL import Image

from mpod_pipeline.datasets import PhotoFolder, ProductSettings
from tests.datasets.photo_folders import load, reason, write


def test_ids_are_file_names_of_pictures_in_any_case(tmp_path: Path) -> None:
    write(tmp_path, "shoe.JPG", "mug.Jpeg", "v1.2.png", "notes.txt", ".hidden.png", "below/lamp.png")
    photos = load(tmp_path)
    assert list(photos) == ["mug", "shoe", "v1.2"]
    assert photos["shoe"]() == b"shoe.JPG"


@pytest.mark.parametrize(
    ("names", "there"),
    [
        ((), "it is empty"),
        ((".hidden.png",), "it is empty"),
        (("sub/a.jpg", "one.txt", "b.psd", "c.csv"), "3 files of other kinds, 1 folder: sub/"),
        (("x/a.jpg", "y/b.jpg"), "2 folders: x/, y/"),
    ],
)
def test_a_folder_without_photos_is_a_wrong_setting(tmp_path: Path, names: tuple[str, ...], there: str) -> None:
    write(tmp_path, *names)
    with pytest.raises(DatasetError, match=re.escape(f"No photo in {tmp_path} ({there})")):
        load(tmp_path)


def test_a_table_without_rows_is_a_wrong_setting(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg")
    with pytest.raises(DatasetError, match="names no product"):
        load(tmp_path, "id,photo\n,,\n")


def test_one_photo_may_be_the_catalog(tmp_path: Path) -> None:
    write(tmp_path, "mug.JPG", "shoe.jpg", "notes.txt")
    (tmp_path / "products.csv").write_text("id,photo\nshoe,shoe.jpg\n")
    photos = load(tmp_path / "mug.JPG")
    assert {product: read() for product, read in photos.items()} == {"mug": b"mug.JPG"}
    assert ProductSettings(path=str(tmp_path / "mug.JPG")).load() == {}
    with pytest.raises(DatasetError, match="neither a folder nor a photo"):
        load(tmp_path / "notes.txt")


def test_photos_show_themselves(tmp_path: Path) -> None:
    write(tmp_path, *(f"{letter}.jpg" for letter in "abcdefg"))
    assert repr(load(tmp_path)) == "7 photos: a, b, c, d, e and 2 more"
    assert repr(load(tmp_path / "a.jpg")) == "1 photo: a"


def test_masks_lie_beside_the_photos(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mug.mask.png", "shoe.png", "pictures/1.jpg", "pictures/lamp.mask.png")
    photos = load(tmp_path)
    assert list(photos) == ["mug", "shoe"]
    assert {product: mask() for product, mask in photos.masks().items()} == {"mug": b"mug.mask.png"}
    assert not [remark for remark in photos.remarks if remark.startswith("Masks")]
    listed = load(tmp_path, "id,photo\nlamp,pictures/1.jpg\nlost,\n")
    assert {product: mask() for product, mask in listed.masks().items()} == {"lamp": b"pictures/lamp.mask.png"}


def test_a_mask_of_no_product_is_told(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mugg.mask.png")
    photos = load(tmp_path)
    assert list(photos) == ["mug"]
    (remark,) = photos.remarks
    assert "mugg.mask.png" in remark


def test_an_absent_folder_is_a_wrong_setting(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        load(tmp_path / "absent")


def test_two_files_of_one_name_fail_that_product(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mug.png", "shoe.png")
    photos = load(tmp_path)
    assert list(photos) == ["mug", "shoe"]
    assert "more than one photo (mug.jpg, mug.png)" in reason(photos, "mug")
    assert photos["shoe"]() == b"shoe.png"


def test_a_picture_that_is_not_read_does_no_harm_to_a_photo_beside_it(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "mug.cr2")
    (tmp_path / "mug.psd").write_bytes(b"8BPS and so on")
    (tmp_path / "lamp.txt").write_bytes(b"\xff\xd8\xff and so on")
    photos = load(tmp_path)
    assert {product: read() for product, read in photos.items()} == {"mug": b"mug.jpg"}
    (remark,) = photos.remarks
    assert "lamp.txt, mug.psd" in remark  # and not mug.cr2, which is a text


def test_photos_below_and_tables_of_other_kinds_are_told(tmp_path: Path) -> None:
    write(tmp_path, "mug.jpg", "sub/shoe.jpg", "notes/a.txt", "ground_truth/mug.png")
    write(tmp_path, "products.xlsx", "product.csv", "products.csv.txt", "letter.txt")
    table, below = load(tmp_path).remarks
    assert "not read: product.csv, products.csv.txt, products.xlsx." in table
    assert "sub/" in below and "notes" not in below and "ground_truth" not in below
    write(tmp_path, "1.png")
    assert not load(tmp_path, "id,photo\nshoe,sub/shoe.jpg\n").remarks  # the table is the whole catalog


def test_a_folder_below_that_nobody_may_read_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "mug.jpg", "lost+found/a.jpg")
    entries = Path.iterdir

    def iterdir(path: Path) -> Iterator[Path]:
        if path.name == "lost+found":
            raise PermissionError(errno.EACCES, "Permission denied")
        return entries(path)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    photos = load(tmp_path)
    assert list(photos) == ["mug"] and not photos.remarks


def test_a_folder_that_cannot_be_listed_is_told_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def iterdir(path: Path) -> Iterator[Path]:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", iterdir)
    with pytest.raises(DatasetError, match="cannot be read: Permission denied"):
        load(tmp_path)


def test_a_file_name_that_is_not_utf8_fails_that_product(tmp_path: Path) -> None:
    write(tmp_path, "mug.png")
    (tmp_path / os.fsdecode(b"caf\xe9.png")).touch()
    photos = load(tmp_path)
    stand_in, mug = photos
    assert mug == "mug"
    assert "not in UTF-8" in reason(photos, stand_in)
    assert photos.written_as(stand_in) == "caf\\xe9"
    assert stand_in.isascii()


@pytest.mark.parametrize("kind", ["pipe", "device", "nothing"])
def test_what_is_no_file_is_refused_before_it_is_read(tmp_path: Path, kind: str) -> None:
    if kind == "pipe":
        os.mkfifo(tmp_path / "odd.png")
    else:
        (tmp_path / "odd.png").symlink_to("/dev/zero" if kind == "device" else tmp_path / "gone.png")
    for table in (None, "id,photo\nodd,odd.png\n"):
        sentence = reason(load(tmp_path, table), "odd")
        assert str(tmp_path / "odd.png") in sentence
        assert "does not exist" in sentence if kind == "nothing" else "a pipe or a device" in sentence


def test_a_file_of_gigabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(3_000_000_000)
    assert "3,000 MB" in reason(load(tmp_path), "huge")


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
        ("Long_Sides_M", "long_side_m"),
        ("photo_elevation", "photo_elevation_deg"),
        ("categorie", "category"),
    ],
)
def test_a_column_that_is_nearly_a_setting_is_warned_of(tmp_path: Path, column: str, meant: str) -> None:
    (warning,) = load(tmp_path, f"id,photo,{column},title,price\nmug,1.png,1,a,2\n").remarks
    assert repr(column) in warning and repr(meant) in warning


def test_other_columns_are_nobodys_business(tmp_path: Path) -> None:
    table = "id,photo,long_side_m,photo_elevation_deg,size,colour,photo2,,,size\nmug,1.png,1,2,3,4,5\n"
    assert not load(tmp_path, table).remarks


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ('mug,1.png,"0,12",', "says '0,12' in the column long_side_m"),
        ('mug,1.png,"0,12",', "write 0.12, with a point"),
        ("mug,1.png,-1,", "says -1.0 in the column long_side_m"),
        ("mug,1.png,nan,", "in the column long_side_m"),
        ("mug,1.png,,75", "says 75.0 in the column photo_elevation_deg"),
        ("mug,1.png,12 cm,", "says '12 cm' in the column long_side_m"),
    ],
)
def test_a_number_that_cannot_be_is_told_at_once_and_fails_its_product(tmp_path: Path, row: str, sentence: str) -> None:
    write(tmp_path, "1.png")
    table = f"id,photo,long_side_m,photo_elevation_deg\n{row}\nshoe,1.png,0.3,-30\n"
    photos = load(tmp_path, table)
    assert sentence in reason(photos, "mug")
    assert photos["shoe"]() == b"1.png"
    (remark,) = photos.remarks
    assert "1 row with an entry that cannot be. mug: " in remark and sentence in remark


def test_sizes_that_must_be_centimetres_are_told(tmp_path: Path) -> None:
    table = "id,photo,long_side_m\nmug,1.png,13\nlamp,1.png,45\nsofa,1.png,2.2\n"
    (remark,) = load(tmp_path, table).remarks
    assert "mug 13, lamp 45" in remark and "sofa" not in remark


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
        ("mug,https://cdn.shop.example/mug.png", "photos are not fetched"),
        ("mug,\x1b[31mred.png", "\\x1b[31mred.png does not exist"),
    ],
)
def test_a_row_without_a_usable_photo_fails_that_product(tmp_path: Path, row: str, sentence: str) -> None:
    folder = tmp_path / "photos"
    write(folder, "1.png", "1.txt", "../secret.png")
    photos = load(folder, f"id,photo\n{row}\nshoe,1.png\n")
    assert list(photos) == ["mug", "shoe"]
    assert sentence in reason(photos, "mug")
    assert photos["shoe"]() == b"1.png"


@pytest.mark.parametrize("product", ["../evil", "a/b", "", ".hidden", "x" * 300, "mean", "a\x1b[31mb"])
def test_an_id_that_is_no_file_name_gets_a_stand_in_and_fails(tmp_path: Path, product: str) -> None:
    write(tmp_path, "1.png")
    photos = load(tmp_path, f"id,photo\n{product},1.png\nshoe,1.png\n")
    stand_in, shoe = photos
    assert shoe == "shoe"
    assert reason(photos, stand_in)
    assert "/" not in stand_in and ".." not in stand_in and len(stand_in) < 100
    assert photos.written_as(stand_in) == (product.replace("\x1b", "\\x1b") or "(line 2)")
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
def test_ids_that_some_file_systems_take_for_one_do_not_share_files(tmp_path: Path, first: str, second: str) -> None:
    write(tmp_path, "1.png", "2.png")
    photos = load(tmp_path, f"id,photo\n{first},1.png\n{second},2.png\n")
    kept, stand_in = photos
    assert kept == first and photos[first]() == b"1.png"
    assert photos.written_as(stand_in) == second
    assert "macOS and Windows" in reason(photos, stand_in)


def test_a_length_is_told_in_bytes(tmp_path: Path) -> None:
    write(tmp_path, f"{'ä' * 60}.png", f"{'ä' * 61}.png")
    usable, too_long = load(tmp_path)
    assert usable == "ä" * 60
    assert "122 bytes" in reason(load(tmp_path), too_long)


@pytest.mark.parametrize("table", ["", "name,photo\n", "id,colour\n"])
def test_a_table_without_its_columns_is_a_wrong_setting(tmp_path: Path, table: str) -> None:
    with pytest.raises(DatasetError, match="no column"):
        load(tmp_path, table)


def test_a_table_that_is_no_text_is_a_wrong_setting(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_bytes(b"id,photo\n\xff\xfe\x00,1.png\n")
    with pytest.raises(DatasetError, match="UTF-8"):
        PhotoFolder(path=str(tmp_path)).load()


def test_photos_have_a_preview_of_those_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_text("a letter")
    Image.new("RGB", (300, 200), "red").save(tmp_path / "b.png")
    preview = Image.open(io.BytesIO(base64.b64decode(PhotoFolder(path=str(tmp_path)).preview())))
    width, height = preview.size
    assert preview.getpixel((width // 2, height // 2)) == (255, 0, 0) and width == 1200
