"""Photos and a workspace that lie in a store are fetched before a run. What it makes is sent, and what it publishes."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import Any

from kedro.config import AbstractConfigLoader
from kedro.framework.context import KedroContext
from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline
from kedro.pipeline.node import Node

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.base.stopping import stopped_run
from mpod_pipeline.base.stores import fetch, is_address, require, send
from mpod_pipeline.base.text import number_of
from mpod_pipeline.hooks.workspace import StoredWorkspace, options, stored_workspace

logger = logging.getLogger(__name__)
PUBLISH = "params:publish"


class StoreHooks:
    """Round a run and all its other hooks, as `base.stores` and `hooks.workspace` say."""

    _workspace: StoredWorkspace | None = None

    @hook_impl
    def after_context_created(self, context: KedroContext) -> None:
        self._loader = context.config_loader

    @hook_impl(wrapper=True)
    def before_pipeline_run(
        self, run_params: dict[str, Any], pipeline: Pipeline, catalog: CatalogProtocol
    ) -> Generator[None]:
        self._workspace = stored_workspace(self._loader)
        try:
            if self._workspace:
                self._workspace.open(run_params["run_id"])
            if "photos" in pipeline.inputs():
                fetch_photos(self._loader)
            if address := upload_to(pipeline, catalog):
                require(address, options(self._loader))
            return (yield)
        except BaseException:
            self._close()
            raise

    @hook_impl(trylast=True)
    def after_dataset_saved(self, dataset_name: str, data: Any, node: Node) -> None:
        """Send now and then, and at the end of each step, which its summary is."""
        if self._workspace and dataset_name == f"{node.name}_records":
            with stopped_run():
                self._workspace.send_while_at_work(now=bool(data["summary"]))

    @hook_impl(wrapper=True)
    def after_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> Generator[None]:
        try:
            return (yield)
        finally:
            try:
                if self._workspace:
                    self._workspace.send()
            finally:
                self._close()
            if address := upload_to(pipeline, catalog):
                folders = {name: catalog.load(name) for name in ("published", "site")}
                sent = send(folders, address, options(self._loader))
                logger.info("%s of %s sent to %s", number_of(sent, "file"), " and ".join(folders), address)

    @hook_impl(wrapper=True)
    def on_pipeline_error(self) -> Generator[None]:
        """Send what was made until then; the error that ended the run is the one to be told."""
        try:
            return (yield)
        finally:
            try:
                if self._workspace:
                    self._workspace.send()
            except SetupError as error:
                logger.warning("What this run has made since is in the copy on this machine alone. %s", error)
            finally:
                self._close()

    def _close(self) -> None:
        if self._workspace:
            self._workspace.close()
            self._workspace = None


def fetch_photos(loader: AbstractConfigLoader) -> None:
    """Bring the copy of photos in a store up to date."""
    photos = loader["parameters"]["photos"]
    if is_address(photos):
        logger.info("The photos of %s are in %s", photos, fetch(photos, options(loader)))


def upload_to(pipeline: Pipeline, catalog: CatalogProtocol) -> str | None:
    """The address to which a pipeline's folders are to go; None where it makes none, or none is told."""
    made = {"published", "site"} <= pipeline.all_outputs()
    return catalog.load(PUBLISH).upload_to if made else None
