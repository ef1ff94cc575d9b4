"""How a catalog stands, by a project's settings: nothing is made, and no product's file is changed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.config import AbstractConfigLoader
from kedro.io import DataCatalog

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.stores import is_address
from mpod_pipeline.batch.lock import who_holds
from mpod_pipeline.batch.status import CatalogStatus, StepView, product_statuses
from mpod_pipeline.batch.step import looking
from mpod_pipeline.batch.under_way import UnderWay
from mpod_pipeline.datasets import History, Photos, connect_history
from mpod_pipeline.datasets.loading import load_from
from mpod_pipeline.hooks.checks import check_values, did_you_mean
from mpod_pipeline.hooks.stores import fetch_photos
from mpod_pipeline.hooks.workspace import stored_workspace
from mpod_pipeline.method.steps import STEP_BY_NAME, STEPS


def look_at_catalog(loader: AbstractConfigLoader) -> CatalogStatus:
    """Relative paths in settings are of the current folder. Copies of what lies in a store are brought up to date, if
    no run of this machine is at work.

    Raises SetupError where there is no photo, or a store cannot be reached.
    """
    catalog = DataCatalog.from_config(loader["catalog"])
    connect_history(catalog)
    history: History = catalog.load("history")
    run = who_holds(history.folder / ".lock")
    if not run:
        stored = stored_workspace(loader)
        run = stored.look() if stored else None
        fetch_photos(loader)
    photos: Photos = load_from(catalog, "photos")
    workspace = history.folder.parents[1]  # of 08_reporting/records
    for product in loader["parameters"]["batch"]["products"] or ():
        if product not in photos and not history.knows(product):
            raise SetupError(f"The catalog has no product {product!r}{did_you_mean(product, photos)}")
    remarks = list(photos.remarks)
    stale: Mapping[str, set[str]] = {}
    if not history.folder.is_dir():
        remarks.append("No run has made anything in this workspace.")
    else:
        stale, untold = _stale(catalog, loader["parameters"])
        remarks += untold
    at_work = {step.name: UnderWay(history.folder, step.name, run.run).read() if run else set() for step in STEPS}
    steps = {name: StepView(history.records(name), stale.get(name, set()), at_work[name]) for name in at_work}
    return CatalogStatus(
        photos=_place(loader["parameters"]["photos"], Path(loader["catalog"]["photos"]["path"])),
        workspace=_place(loader["parameters"]["workspace"], workspace),
        products=list(product_statuses(photos, steps, history.artifacts["cutout_checks"])),
        run=run,
        gone=sum(product not in photos for product in steps[STEPS[0].name].records),
        remarks=remarks,
    )


def _place(told: str, folder: Path) -> str:
    return told if is_address(told) else str(folder.absolute())


def _stale(catalog: DataCatalog, settings: Mapping[str, Any]) -> tuple[dict[str, set[str]], list[str]]:
    """The products by step that a run with these settings would make again; and a sentence on each step of which that
    cannot be told. The steps themselves decide, which takes their code, and PyTorch with it.
    """
    from kedro.validation.type_extractor import TypeExtractor

    from mpod_pipeline.pipelines.catalog_to_3d import create_pipeline

    pipeline = create_pipeline()
    models: Mapping[str, Any] = TypeExtractor({"": pipeline}).extract_types_from_pipelines()
    check_values(settings, models)
    parameters = {f"params:{section}": model.model_validate(settings[section]) for section, model in models.items()}
    stale: dict[str, set[str]] = {}
    untold: list[str] = []
    for node in (node for node in pipeline.nodes if node.name in STEP_BY_NAME):
        names: Any = node._inputs  # by argument; `node.run` would log each step as if it were run
        try:
            inputs = {key: parameters.get(name) or load_from(catalog, name) for key, name in names.items()}
            with looking() as seen:
                list(node.func(**inputs))
        except SetupError as error:
            untold.append(f"Whether {node.name} is up to date cannot be told. {error}")
        else:
            stale[node.name] = seen
    return stale, untold
