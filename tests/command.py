"""How tests type the real command."""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).parents[1]


def environment(mlflow_folder: Path) -> dict[str, str]:
    """This process's environment, with an MLflow store of the test's own."""
    return {
        **os.environ,
        "KEDRO_DISABLE_TELEMETRY": "1",
        "MLFLOW_TRACKING_URI": f"sqlite:///{mlflow_folder / 'mlflow.db'}",
    }
