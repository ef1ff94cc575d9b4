"""Tables over the whole catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from kedro.io import AbstractDataset
from kedro_datasets._typing import TablePreview

from mpod_pipeline.atomic import whole_file


class ProductTable(AbstractDataset[pd.DataFrame, pd.DataFrame]):
    """A CSV file, replaced in one step.

    A frame without columns is no table yet and is not written: a node that yields product by product has
    its table only at the end, and Kedro wants something for every output each time.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self.path = Path(filepath)
        self.metadata = metadata

    def load(self) -> pd.DataFrame:
        return pd.read_csv(self.path, dtype={"product": str}, keep_default_na=True)

    def save(self, data: pd.DataFrame) -> None:
        if data.columns.empty:
            return
        with whole_file(self.path) as path:
            data.to_csv(path, index=False)

    def preview(self, rows: int = 40) -> TablePreview:
        """The first rows, for Kedro-Viz; none of a table that no run has made yet."""
        table = self.load().head(rows) if self._exists() else pd.DataFrame()
        return TablePreview(table.to_dict(orient="split"))

    def _exists(self) -> bool:
        return self.path.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.path)}
