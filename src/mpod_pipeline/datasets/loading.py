"""Loading from the catalog, with what a dataset itself says of an error."""

from __future__ import annotations

from typing import Any

from kedro.io import CatalogProtocol, DatasetError

from mpod_pipeline.base.errors import SetupError


def load_from(catalog: CatalogProtocol, name: str) -> Any:
    """As ``catalog.load``. Raises the dataset's own SetupError without Kedro's wrapping."""
    try:
        return catalog.load(name)
    except DatasetError as error:
        cause: BaseException | None = error
        while cause and not isinstance(cause, SetupError):
            cause = cause.__cause__
        if cause is None:
            raise
        raise cause from cause.__cause__  # from what it caused, the chain would be a circle
