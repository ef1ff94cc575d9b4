"""The paper's Table 1 of our own: means over the products that all methods finished, and how sure differences are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mpod_pipeline.method.comparison.methods import OURS

#: What tables for people show, by the beginnings of the scores' names, and whether more is better.
SHOWN = {
    "cx": False,
    "similarity": True,
    "mvc": True,
    "photo_psnr": True,
    "psnr": True,
    "silhouette_iou": True,
    "chamfer": False,
    "feature_distance": False,
    "seconds": False,
    "prior_queries": False,
}
PRICE = ("seconds", "prior_queries")
#: Of the interval of a mean difference, by resampling products.
LEVEL = 0.95
#: Columns of the table of differences, beside the dataset.
DIFFERENCES = ("method", "score", "difference", "low", "high", "products")


def finished_by_all(scores: pd.DataFrame) -> list[str]:
    """The products of which every method has scores. scores: a row per method and product."""
    methods = scores["method"].nunique()
    return [str(product) for product, rows in scores.groupby("product", sort=True) if len(rows) == methods]


def mean_table(scores: pd.DataFrame, products: Sequence[str]) -> pd.DataFrame:
    """A row per method, in the order of the scores' rows: how many products, and the mean of each number over them."""
    rows = scores[scores["product"].isin(products)]
    means = rows.groupby(["dataset", "method"], sort=False).mean(numeric_only=True)
    means.insert(0, "products", rows.groupby(["dataset", "method"], sort=False).size())
    return means.reset_index()


def differences(scores: pd.DataFrame, products: Sequence[str], resamples: int) -> pd.DataFrame:
    """Of every other method and score, per dataset: the mean over products of its difference from ours, and the
    interval in which that lies by resampling the products.
    """
    counted = scores[scores["product"].isin(products)]
    tables = [
        _differences(rows, resamples).assign(dataset=name) for name, rows in counted.groupby("dataset", sort=False)
    ]
    return pd.concat(tables)[["dataset", *DIFFERENCES]] if tables else pd.DataFrame(columns=["dataset", *DIFFERENCES])


def _differences(scores: pd.DataFrame, resamples: int) -> pd.DataFrame:
    numbers = scores.set_index("product").sort_index()
    ours = numbers[numbers["method"] == OURS].select_dtypes("number")
    draws = np.random.default_rng(0).integers(0, max(1, len(ours)), (resamples, len(ours)))
    rows = []
    for method in dict.fromkeys(scores["method"]):
        if method == OURS or ours.empty:
            continue
        change = numbers[numbers["method"] == method][ours.columns] - ours
        for score in ours.columns:
            values = change[score].to_numpy(float)
            low, high = np.quantile(values[draws].mean(axis=1), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
            row = {"method": method, "score": score, "difference": values.mean(), "low": low, "high": high}
            rows.append({**row, "products": len(values)})
    return pd.DataFrame(rows, columns=list(DIFFERENCES)).dropna(subset="difference")


def shown_columns(table: pd.DataFrame) -> dict[str, bool]:
    """The columns that tables for people show, and of each whether more is better."""
    chosen: dict[str, bool] = {}
    for beginning, more in SHOWN.items():
        named = (name for name in table.columns if name == beginning or name.startswith(f"{beginning}_"))
        # janus, sharpness and the like are in the CSV alone
        chosen |= {str(name): more for name in named if not table[name].isna().all()}
    return {name: more for name, more in chosen.items() if not name.startswith(("photo_psnr_", "psnr_"))}


def as_markdown(table: pd.DataFrame, caption: str) -> str:
    head, rows = _cells(table, "**{}**")
    lines = [" | ".join(cells) for cells in [head, ["---"] * len(head), *rows]]
    return "\n".join([*(f"| {line} |" for line in lines), "", caption, ""])


def as_latex(table: pd.DataFrame, caption: str) -> str:
    """A ``tabular`` for the package booktabs."""
    head, rows = _cells(table, r"\textbf{{{}}}")
    lines = [" & ".join(cell.replace("_", r"\_") for cell in cells) + r" \\" for cells in (head, *rows)]
    tabular = [
        f"% {caption}",
        rf"\begin{{tabular}}{{{'l' * 2}{'r' * (len(head) - 2)}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        *lines[1:],
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join([*tabular, ""]).replace("↓", r"$\downarrow$").replace("↑", r"$\uparrow$")


def _cells(table: pd.DataFrame, best: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows, each dataset's best of each score set off."""
    columns = shown_columns(table)
    head = ["dataset", "method", "products", *(f"{name} {'↑' if more else '↓'}" for name, more in columns.items())]
    of_dataset = table.groupby("dataset")
    winners = {name: of_dataset[name].transform("max" if more else "min") for name, more in columns.items()}
    rows = []
    for place, row in zip(table.index, table.to_dict("records"), strict=True):
        cells = [str(row["dataset"]), str(row["method"]), str(row["products"])]
        for name in columns:
            text = "–" if pd.isna(row[name]) else f"{row[name]:.0f}" if name in PRICE else f"{row[name]:.3f}"
            cells.append(best.format(text) if row[name] == winners[name][place] and name not in PRICE else text)
        rows.append(cells)
    return head, rows
