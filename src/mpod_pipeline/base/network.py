"""Whether a server is there, asked once and briefly: MLflow and the Hugging Face hub's client try for minutes."""

from __future__ import annotations

import ssl
from urllib.error import HTTPError, URLError
from urllib.request import urlopen


def require_answer(address: str, seconds: float) -> None:
    """Raise OSError unless a server answers within so many seconds. Whatever it says will do, if only that it lacks the
    page or has a certificate of its own.
    """
    try:
        urlopen(address, timeout=seconds).close()
    except HTTPError:
        pass
    except URLError as error:
        if not isinstance(error.reason, ssl.SSLError):
            raise
