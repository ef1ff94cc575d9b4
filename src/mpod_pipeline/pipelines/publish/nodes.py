"""The nodes after the steps: they look at the whole catalog."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from mpod_pipeline.batch import History
from mpod_pipeline.batch.records import Record, read_record
from mpod_pipeline.publish.decisions import Decisions
from mpod_pipeline.publish.doubt import doubt
from mpod_pipeline.publish.feeds import feeds
from mpod_pipeline.publish.settings import PublishParameters
from mpod_pipeline.publish.site import Entry, site_files
from mpod_pipeline.publish.steps import EVERY_STEP, MAKE_PAGES, PREFIX
from mpod_pipeline.publish.table import Row, rows_of

ProductTexts = Mapping[str, Mapping[str, str]]


def publish(
    *,
    history: History,
    decisions: Decisions,
    product_settings: ProductTexts,
    meshes: Any,
    posters: Any,
    evaluations: Any,
    parameters: PublishParameters,
    **of_targets: Any,
) -> dict[str, Any]:
    """The table of what is published, and why the rest is not; the files that are; and their feeds.

    of_targets: by the target's name its checks, and by the name with ``_files`` its files.
    """
    rows: list[Row] = []
    for product in meshes:
        reports: dict[str, Any] = {}
        failures: dict[str, str] = {}
        for target in parameters.targets:
            record = read_record(history.records(f"{PREFIX}{target}"), product)
            if record and record.state == "made" and product in of_targets[target]:
                reports[target] = of_targets[target][product]()
            elif record and record.state == "failed":
                failures[target] = record.message
        flags = str(evaluations[product]().get("flags", "")) if product in evaluations else ""
        rows += rows_of(product, reports, failures, decisions, parameters.approved_only, flags)
    published = [row for row in rows if row.published]
    places: dict[str, Path] = {row.file: of_targets[f"{row.target}_files"][row.product].path for row in published}
    for product in {row.product for row in published}:
        if product in posters:
            places[f"posters/{product}{posters[product].path.suffix}"] = posters[product].path
    url = parameters.base_url
    table = pd.DataFrame([asdict(row) for row in rows], columns=[each.name for each in fields(Row)])
    return {"table": table, "published": places, "feeds": feeds(rows, url, product_settings) if url else {}}


def build_site(
    history: History,
    decisions: Decisions,
    product_settings: ProductTexts,
    pages: Any,
    evaluations: Any,
    table: pd.DataFrame,
) -> dict[str, Any]:
    """The page's files but those of single products, which the step `make_pages` makes."""
    reasons: dict[str, dict[str, str]] = {}
    for row in table.to_dict("records"):
        reason = "" if row["published"] else str(row["reason"])
        reasons.setdefault(str(row["product"]), {})[str(row["target"])] = reason
    products = sorted({*pages, *reasons, *_known_to(history)})
    return dict(
        site_files(
            (_entry(product, history, product_settings, pages, evaluations, reasons) for product in products), decisions
        )
    )


def _entry(
    product: str,
    history: History,
    texts: ProductTexts,
    pages: Any,
    evaluations: Any,
    reasons: Mapping[str, Mapping[str, str]],
) -> Entry:
    records = {step.name: record for step in EVERY_STEP if (record := read_record(history.records(step.name), product))}
    failed = next((record for record in records.values() if record.state == "failed"), None)
    own = texts.get(product, {})
    page = records.get(MAKE_PAGES.name)
    shown = page is not None and page.state == "made" and product in pages
    scores = dict(evaluations[product]()) if product in evaluations else {}
    flags = str(scores.pop("flags", ""))
    mesh = page.inputs.get("mesh") if page and shown else None
    return Entry(
        id=product,
        title=own.get("title", ""),
        category=own.get("category", ""),
        model=mesh.sha256 if mesh else "",
        flags=flags,
        failed=f"{failed.step}: {failed.message}" if failed else "",
        doubt=doubt({**scores, "flags": flags}) if scores else None,
        scores={name: round(float(value), 4) for name, value in scores.items() if isinstance(value, int | float)},
        published=reasons.get(product),
        history=[_in_short(record) for record in records.values()],
    )


def _in_short(record: Record) -> tuple[Any, ...]:
    return record.step, record.state, round(record.seconds, 1), record.attempt, record.finished, record.run_id


def _known_to(history: History) -> set[str]:
    """The products that the first step has a record of, and that are still in the catalog."""
    records = history.records(EVERY_STEP[0].name)
    found = ((product, read_record(records, product)) for product in records)
    return {product for product, record in found if record and record.state != "left out"}
