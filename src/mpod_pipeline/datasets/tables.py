"""Tables over the whole catalog."""

from __future__ import annotations

from typing import Any

import pandas as pd
from kedro_datasets._typing import TablePreview

from mpod_pipeline.base.atomic import told_what_cannot_be_written, whole_file
from mpod_pipeline.base.text import harmless, without_mark
from mpod_pipeline.datasets.place import AtPath


def as_csv(table: pd.DataFrame) -> str:
    """The table as CSV, in which no text can be taken for a formula: one that could has ``'`` before it."""
    return table.map(lambda cell: harmless(cell) if isinstance(cell, str) else cell).to_csv(index=False)


def mean_scores(table: pd.DataFrame) -> dict[str, float]:
    """The mean of each column of numbers, over the products that have one; of truths, their share.

    Args:
        table: One row per product.

    Returns:
        The means by the columns' names.

    Example:
        >>> mean_scores(pd.DataFrame({"product": ["mug", "shoe"], "psnr": [22.0, 24.0], "watertight": [True, False]}))
        {'psnr': 23.0, 'watertight': 0.5}
    """
    means = table.drop(columns="product").mean(numeric_only=True).dropna()
    return {str(score): float(mean) for score, mean in means.items()}


class ProductTable(AtPath[pd.DataFrame, pd.DataFrame]):
    """A CSV file, replaced in one step, whatever texts are in it.

    A frame without columns is no table yet and is not written. A node that yields product by product has its table only
    at the end, and Kedro wants something for every output each time.
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        super().__init__(path=filepath, metadata=metadata)

    def load(self) -> pd.DataFrame:
        # Only an empty cell is no number: NA may be a product.
        table = pd.read_csv(self.path, dtype={"product": str}, keep_default_na=False, na_values=[""])
        return table.map(lambda cell: without_mark(cell) if isinstance(cell, str) else cell)

    def save(self, data: pd.DataFrame) -> None:
        if data.columns.empty:
            return
        with told_what_cannot_be_written(self.path), whole_file(self.path) as path:
            path.write_text(as_csv(data), encoding="utf-8")

    def preview(self, rows: int = 40) -> TablePreview:
        """The first rows, for Kedro-Viz; none of a table that no run has made yet."""
        table = self.load().head(rows) if self._exists() else pd.DataFrame()
        return TablePreview(table.to_dict(orient="split"))

    def _exists(self) -> bool:
        return self.path.is_file()
