"""Where long work inside one product keeps its state, so that a run that is killed costs minutes, not hours."""

from __future__ import annotations

import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mpod_pipeline.base.atomic import whole_file

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """A file that holds the state of one product's work in one step; it may be sent to another process.

    fingerprint: what the work depends on; a state of other work is not gone on from. every_seconds: how much work a
    kill may cost, to which the work itself adds its last few steps.
    """

    path: Path
    fingerprint: str
    every_seconds: float

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file in one step. state: tensors, numbers, texts, and lists and dicts of these."""
        import torch  # here, as the batch layer is also used by commands that compute nothing

        # In memory first: PyTorch's own writer turns a full disk, which stops a run, into a RuntimeError.
        content = io.BytesIO()
        torch.save({"fingerprint": self.fingerprint, "state": state}, content)
        with whole_file(self.path) as path:
            path.write_bytes(content.getbuffer())

    def load(self) -> dict[str, Any] | None:
        """The state to go on from, its tensors on the CPU; None if there is none of this work.

        A file that cannot be read is said and left aside: what it would have saved is done again.
        """
        import torch

        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            fingerprint, state = content["fingerprint"], content["state"]
        except FileNotFoundError:
            return None
        except Exception as error:  # PyTorch does not say which errors a damaged file may raise
            logger.warning("The checkpoint %s cannot be read and is not used (%s).", self.path, error)
            return None
        return state if fingerprint == self.fingerprint else None
