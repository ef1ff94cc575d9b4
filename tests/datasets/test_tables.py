from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from kedro.io import DatasetError

from mpod_pipeline.datasets import ProductTable, WeightsFolder


def test_tables_are_written_read_and_shown(tmp_path: Path) -> None:
    table = ProductTable(filepath=str(tmp_path / "reports" / "scores.csv"))
    frame = pd.DataFrame({"product": ["007", "mean"], "score": [0.5, 0.5]})
    table.save(frame)
    assert table.load().equals(frame)  # 007 is not 7
    assert table.preview(rows=1)["data"] == [["007", 0.5]]


def test_a_frame_without_columns_is_no_table_yet_but_one_without_rows_is(tmp_path: Path) -> None:
    table = ProductTable(filepath=str(tmp_path / "scores.csv"))
    table.save(pd.DataFrame())
    assert not table.exists()
    table.save(pd.DataFrame(columns=["product", "stage"]))
    assert table.path.read_text() == "product,stage\n"


def test_absent_weights_are_a_wrong_setting(tmp_path: Path) -> None:
    assert WeightsFolder(path=str(tmp_path)).load().path == tmp_path
    with pytest.raises(DatasetError, match="train_priors"):
        WeightsFolder(path=str(tmp_path / "absent")).load()


def test_a_table_that_is_not_made_yet_has_a_preview_without_rows(tmp_path: Path) -> None:
    assert ProductTable(filepath=str(tmp_path / "scores.csv")).preview()["data"] == []
