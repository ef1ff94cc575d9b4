"""Photos that lie in a store are fetched before a run, and what it publishes is sent to one after it."""

from __future__ import annotations

import logging
from typing import Any

from kedro.config import AbstractConfigLoader, MissingConfigException
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from mpod_pipeline.base.stores import Options, fetch, is_address, require, send
from mpod_pipeline.base.text import number_of

logger = logging.getLogger(__name__)
#: The entry of Kedro's ``credentials.yml`` that has the store's options. Without it the store's own places count, such
#: as AWS's environment variables.
CREDENTIALS = "store"
PUBLISH = "params:publish"


class StoreHooks:
    """Round a run, as `base.stores` says."""

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._loader = context.config_loader

    @hook_impl(tryfirst=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        photos = self._loader["parameters"]["photos"]
        if "photos" in pipeline.inputs() and is_address(photos):
            folder = fetch(photos, options(self._loader))
            logger.info("The photos of %s are in %s", photos, folder)
        if address := upload_to(pipeline, catalog):
            require(address, options(self._loader))

    @hook_impl
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        if address := upload_to(pipeline, catalog):
            folders = {name: catalog.load(name) for name in ("published", "site")}
            sent = send(folders, address, options(self._loader))
            logger.info("%s of %s sent to %s", number_of(sent, "file"), " and ".join(folders), address)


def upload_to(pipeline: Pipeline, catalog: CatalogProtocol) -> str | None:
    """The address to which a pipeline's folders are to go; None where it makes none, or none is told."""
    made = {"published", "site"} <= pipeline.all_outputs()
    address: str | None = catalog.load(PUBLISH).upload_to if made else None
    return address


def options(loader: AbstractConfigLoader) -> Options:
    try:
        found: dict[str, Any] = loader["credentials"].get(CREDENTIALS) or {}
        return found
    except MissingConfigException:
        return {}
