"""Whether a server is there, asked once and briefly: MLflow and the Hugging Face hub's client try for minutes."""

from __future__ import annotations

from contextlib import suppress

import requests


def require_answer(address: str, seconds: float) -> None:
    """Raise OSError unless a server answers within so many seconds. Whatever it says will do, if only that it lacks the
    page or has a certificate of its own.
    """
    with suppress(requests.exceptions.SSLError):
        requests.get(address, timeout=seconds, stream=True).close()
