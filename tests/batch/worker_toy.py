"""Work for workers in other processes, which import it by name: what a text asks for is what happens."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.batch import Checkpoint, Report, Work
from mpod_pipeline.batch.isolation import BrokenWorkerError


def open_work(diary: Path) -> Work:
    """diary: a folder where every opening and every attempt leaves a file."""
    (diary / f"opened-{os.getpid()}-{time.time_ns()}").touch()

    def work(inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None) -> dict[str, Any]:
        text = inputs["original"]
        (diary / f"did-{text}-{_node()}-{time.time_ns()}").touch()
        report(1, 2, {"loss": 2.0})
        if text.startswith("slow"):
            time.sleep(1)
        if text == "unusable":
            raise ProductError("It is unusable.")
        if text == "misconfigured":
            raise SetupError("There are no weights.")
        if text == "bug":
            raise TypeError("a bug")
        if text == "killer" or (text == "killed once" and len(list(diary.glob(f"did-{text}-*"))) == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "broken gpu" and len(list(diary.glob(f"did-{text}-*"))) == 1:
            raise BrokenWorkerError("The GPU does not answer any more.")
        report(2, 2, {"loss": 1.0})
        if text == "where":
            return {"copies": [str(Path.cwd()), seed]}
        return {"copies": [text, seed]}

    return work


def _node() -> str:
    ray = sys.modules.get("ray")
    return str(ray.get_runtime_context().get_node_id()) if ray and ray.is_initialized() else "here"


class Unknown:
    """Work that no worker's process can take in, as where a package is not installed on its machine."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _only_here, (os.getpid(),)


def _only_here(pid: int) -> Unknown:
    if os.getpid() != pid:
        raise ImportError("No module named 'mpod_pipeline'")
    return Unknown()
