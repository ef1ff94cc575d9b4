"""What spreadsheets make of a table."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets.products_csv import Row, read_table


def rows(folder: Path, table: str | bytes, name: str = "products.csv") -> list[tuple[str, str, dict[str, str]]]:
    (folder / name).write_bytes(table if isinstance(table, bytes) else table.encode())
    read = read_table(folder)
    assert read
    return [(row.id, row.photo, row.settings) for row in read.rows]


MUG = [("mug", "mug.png", {"long_side_m": "0.13"})]


@pytest.mark.parametrize(
    "table",
    [
        "id,photo,long_side_m\nmug,mug.png,0.13\n",
        "ID,Photo,Long_Side_M\nmug,mug.png,0.13\n",
        " id , photo , long_side_m \n mug , mug.png , 0.13 \n",
        "id;photo;long_side_m\nmug;mug.png;0.13\n",
        "id\tphoto\tlong_side_m\nmug\tmug.png\t0.13\n",
        'colour;id;long_side_m;photo\n"large, red";mug;0.13;mug.png\n',
        '"colour, if any",id,long_side_m,photo\n,mug,0.13,mug.png\n',
        "\ufeffid,photo,long_side_m\r\nmug,mug.png,0.13\r\n",
        "\n,,\nid,photo,long_side_m\n,,\nmug,mug.png,0.13\n,,\n , ,\n\n",
    ],
)
def test_what_spreadsheets_write_is_read(tmp_path: Path, table: str) -> None:
    assert rows(tmp_path, table) == MUG
    assert rows(tmp_path, table.lstrip("\ufeff").encode("utf-16")) == MUG


@pytest.mark.parametrize("name", ["Products.csv", "products.CSV", "PRODUCTS.csv"])
def test_the_tables_name_may_be_in_any_case(tmp_path: Path, name: str) -> None:
    assert rows(tmp_path, "id,photo,long_side_m\nmug,mug.png,0.13\n", name) == MUG


def test_two_tables_are_one_too_many(tmp_path: Path) -> None:
    (tmp_path / "Products.csv").touch()
    (tmp_path / "products.csv").touch()
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system takes both names for one")
    with pytest.raises(SetupError, match=re.escape("Products.csv, products.csv")):
        read_table(tmp_path)


def test_a_folder_without_a_table_has_none(tmp_path: Path) -> None:
    assert read_table(tmp_path) is None


def test_rows_know_their_lines_also_after_cells_of_several(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text('id,photo,note\na,a.png,"two\nlines"\n\nb,b.png,x,y\n')
    table = read_table(tmp_path)
    assert table
    assert table.rows == (Row(2, "a", "a.png", {}, False), Row(5, "b", "b.png", {}, True))


@pytest.mark.parametrize(
    ("table", "sentence"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("name,photo\n", "has no column id; its first row has: name, photo"),
        ("id,colour\n", "has no column photo; its first row has: id, colour"),
        ("sku;image\n", "has no column id and no column photo; its first row has: sku, image"),
        ("id,photo,ID\n1,2,3\n", "has 2 columns id"),
        ("id,photo,long_side_m,long_side_m\n1,2,3,4\n", "has 2 columns long_side_m"),
        ('id,photo,title\na,a.png,x\nb,b.png,"19 inch\nc,c.png,y\n', "the row that begins in line 3"),
        ('id,photo,title\na,a.png,"19" inch"\n', "the row that begins in line 2"),
        ("id,photo\nmug,m\u00fcg.png\n".encode("latin-1"), "is not in UTF-8 (line 2); save it as UTF-8, in Excel"),
        ("id,photo\nmug,mug.png\n".encode("utf-16-le"), "is not a text in UTF-8"),
        (b"PK\x03\x04\x14\0\x06\0", "is not a text in UTF-8"),
    ],
)
def test_what_is_no_such_table_is_refused_in_a_sentence(tmp_path: Path, table: str | bytes, sentence: str) -> None:
    with pytest.raises(SetupError) as error:
        rows(tmp_path, table)
    assert sentence in str(error.value) and str(tmp_path / "products.csv") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_a_table_that_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "products.csv"
    place.mkdir() if kind == "folder" else os.mkfifo(place)
    with pytest.raises(SetupError, match="not a file"):
        read_table(tmp_path)
