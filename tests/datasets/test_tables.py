from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
import pytest

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.datasets import ProductTable, WeightsFolder


def test_tables_are_written_read_and_shown(tmp_path: Path) -> None:
    table = ProductTable(filepath=str(tmp_path / "reports" / "scores.csv"))
    frame = pd.DataFrame({"product": ["007", "mean"], "score": [0.5, 0.5]})
    table.save(frame)
    assert table.load().equals(frame)  # 007 is not 7
    assert table.preview(rows=1)["data"] == [["007", 0.5]]


@pytest.mark.parametrize(
    "product",
    ["NA", "null", "nan", "007", "1e3", "True", "=1+1", "+1", "-1", "@a", "'=1", "''", "a,b", 'a"b', "\u00e4"],
)
def test_whatever_an_id_looks_like_it_stays_what_it_is(tmp_path: Path, product: str) -> None:
    table = ProductTable(filepath=str(tmp_path / "scores.csv"))
    table.save(pd.DataFrame({"product": ["mug", product], "why": [f"why {product}", None], "score": [0.5, None]}))
    loaded = table.load()
    assert loaded["product"].tolist() == ["mug", product]
    assert loaded["why"][0] == f"why {product}"
    assert loaded["score"].isna().tolist() == [False, True]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)"])
def test_no_text_is_a_formula_to_a_spreadsheet(tmp_path: Path, text: str) -> None:
    table = ProductTable(filepath=str(tmp_path / "failures.csv"))
    table.save(pd.DataFrame({"product": [text], "message": [f"{text}, it says"], "score": [-1.5]}))
    with table.path.open(newline="") as file:
        _, (product, message, score) = csv.reader(file)
    assert (product, message, score) == (f"'{text}", f"'{text}, it says", "-1.5")


def test_truths_and_counts_stay_such(tmp_path: Path) -> None:
    table = ProductTable(filepath=str(tmp_path / "scores.csv"))
    table.save(pd.DataFrame({"product": ["a", "b"], "watertight": [True, False], "pieces": [1, 2]}))
    loaded = table.load()
    assert (loaded["watertight"].dtype, loaded["pieces"].dtype) == (bool, int)


def test_a_frame_without_columns_is_no_table_yet_but_one_without_rows_is(tmp_path: Path) -> None:
    table = ProductTable(filepath=str(tmp_path / "scores.csv"))
    table.save(pd.DataFrame())
    assert not table.exists()
    table.save(pd.DataFrame(columns=["product", "step"]))
    assert table.path.read_text() == "product,step\n"


def test_absent_weights_are_a_wrong_setting(tmp_path: Path) -> None:
    assert WeightsFolder(path=str(tmp_path)).load().path == tmp_path
    absent = WeightsFolder(path=str(tmp_path / "absent")).load()  # which a step may have no use for
    for use in (lambda: absent.path, lambda: absent.places, absent.verify, lambda: absent.open(print)):
        with pytest.raises(SetupError, match="train_priors"):
            use()


def test_a_table_that_is_not_made_yet_has_a_preview_without_rows(tmp_path: Path) -> None:
    assert ProductTable(filepath=str(tmp_path / "scores.csv")).preview()["data"] == []
