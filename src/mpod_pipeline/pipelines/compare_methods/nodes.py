"""What all methods made, in tables and pictures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from mpod_pipeline.batch.records import read_record
from mpod_pipeline.datasets import History, Photos
from mpod_pipeline.datasets.photos import CUTOUT
from mpod_pipeline.datasets.tables import as_csv
from mpod_pipeline.method.comparison.methods import OURS, OUTLINE_OF
from mpod_pipeline.method.comparison.parameters import CompareParameters
from mpod_pipeline.method.comparison.queries import prior_queries
from mpod_pipeline.method.comparison.sheets import contact_sheet
from mpod_pipeline.method.comparison.tables import as_latex, as_markdown, differences, finished_by_all, mean_table
from mpod_pipeline.method.cutouts import reference_view
from mpod_pipeline.method.detail import DetailParameters
from mpod_pipeline.method.outline import OutlineParameters
from mpod_pipeline.method.steps import COMPARING_STEPS

#: What is read of each method: by argument, the dataset in its namespace.
BY_METHOD = {"scores": "view_scores", "views": "model_views", "history": "history"}
SCORED_BY = COMPARING_STEPS[-1].name
#: The steps whose seconds count; an outline's, whoever shares it.
OUTLINING, REFINING = "optimize_outline", ("refine_detail", "export_models")
#: Views all round on a product's sheet; products and views on the sheets of several.
ROUND, FEW_PRODUCTS, FEW_VIEWS = 6, 3, 2
#: The methods of the paper's Figure 6, in its order.
ABLATIONS = ("stage1_only", "without_dai", "controlnet", OURS)
CAPTION = (
    "All methods are re-implementations on one renderer with the same photos, cutouts, words and priors, and not the "
    "releases of their authors; each one's card is in docs/methods. Means over what all of them finished, "
    "products: {count}{rest}. Seconds are of the steps alone, beside whatever else the machine did."
)


def report_comparison(
    photos: Photos, cutouts: Any, history: History, compare: CompareParameters, **by_method: Any
) -> dict[str, bytes]:
    """Files by name: ``table1`` as CSV, Markdown and LaTeX, ``scores_long.csv``, ``differences.csv``, and sheets."""
    made = {name: {kind: by_method[f"{name}__{kind}"] for kind in BY_METHOD} for name in compare.methods}
    rows = [
        {
            "dataset": _dataset_of(photos[product].path),
            "method": name,
            "product": product,
            **_numbers(of["scores"][product]()),
            "seconds": _seconds(product, of["history"], _outline_history(name, of, history)),
            "prior_queries": prior_queries(
                # where no step of the method's own reads a section, Kedro has not made its model of it
                OutlineParameters.model_validate(by_method[f"{name}__outline"]),
                DetailParameters.model_validate(by_method[f"{name}__detail"]),
            ),
        }
        for name, of in made.items()
        for product in _scored(of)
    ]
    scores = pd.DataFrame(rows, columns=None if rows else ["dataset", "method", "product"])
    complete = scores["method"].nunique() == len(compare.methods)
    common = finished_by_all(scores) if complete else []
    missing = sorted(set(photos) - set(common))
    rest = f" (not counted: {', '.join(missing)})" if missing else ""
    caption = CAPTION.format(count=len(common), rest=rest)
    files = {"scores_long.csv": as_csv(scores).encode()}
    if common:
        table = mean_table(scores, common)
        files |= {
            "table1.csv": as_csv(table).encode(),
            "table1.md": as_markdown(table, caption).encode(),
            "table1.tex": as_latex(table, caption).encode(),
            "differences.csv": as_csv(differences(scores, common, compare.resamples)).encode(),
        }
    return {**files, **_sheets(photos, cutouts, made, common)}


def _dataset_of(photo: Path | None) -> str:
    """The folder with the photo in it; as RealFusion's authors lay theirs out, the folder of these folders."""
    if photo is None:
        return ""
    return (photo.parents[1] if photo.name == CUTOUT else photo.parent).name


def _scored(of: Mapping[str, Any]) -> list[str]:
    """The products whose scores stand."""
    records = of["history"].records(SCORED_BY)
    read = {product: read_record(records, product) for product in of["scores"]}
    return [product for product, record in read.items() if record and record.state == "made"]


def _numbers(scores: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in scores.items() if isinstance(value, int | float)}


def _outline_history(name: str, of: Mapping[str, Any], shared: History) -> History:
    own: History = of["history"]
    return own if OUTLINE_OF[name] == name != OURS else shared


def _seconds(product: str, own: History, outline: History) -> float:
    steps = [(outline, OUTLINING), *((own, step) for step in REFINING)]
    records = (read_record(history.records(step), product) for history, step in steps)
    return round(sum(record.seconds for record in records if record), 1)


def _sheets(
    photos: Photos, cutouts: Any, made: Mapping[str, Mapping[str, Any]], common: Iterable[str]
) -> dict[str, bytes]:
    """A sheet per product; per dataset one of a few products and all methods, and one of these and the ablations."""
    files = {}
    for product in (product for product in photos if product in cutouts):
        files[f"products/{product}.png"] = _png(_sheet(product, cutouts, made, made, ROUND))
    by_dataset: dict[str, list[str]] = {}
    for product in common:
        by_dataset.setdefault(_dataset_of(photos[product].path), []).append(product)
    for name, methods in {"all_methods": tuple(made), "ablations": ABLATIONS}.items():
        chosen = [method for method in methods if method in made]
        for dataset, products in by_dataset.items() if len(chosen) > 1 else ():
            few = products[:: ceil(len(products) / FEW_PRODUCTS)]
            sheets = [_sheet(product, cutouts, made, chosen, FEW_VIEWS) for product in few]
            files[f"{name}/{dataset}.png"] = _png(np.concatenate(sheets, axis=1))
    return files


def _sheet(
    product: str, cutouts: Any, made: Mapping[str, Mapping[str, Any]], methods: Iterable[str], count: int
) -> NDArray[np.uint8]:
    picture = reference_view(cutouts[product]().front.picture, 128).picture
    photo: NDArray[np.uint8] = (picture.permute(1, 2, 0) * 255).round().byte().numpy()
    views = {name: made[name]["views"][product]() if product in _scored(made[name]) else None for name in methods}
    return contact_sheet(photo, views, count)


def _png(picture: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG")
    return buffer.getvalue()
