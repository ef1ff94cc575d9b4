"""Which products a step has at work, written down for people who watch."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ValidationError


class _UnderWay(BaseModel):
    run: str
    products: list[str]


class UnderWay:
    """A small file beside the step's records. A run that dies leaves it behind, so it says whose it is."""

    def __init__(self, records: Path, step: str, run_id: str) -> None:
        self._path = records / f".under_way.{step}.json"
        self._run_id = run_id

    def show(self, products: Iterable[str]) -> None:
        """Write down the products, in place of those before; none: there is no file."""
        under_way = _UnderWay(run=self._run_id, products=list(products))
        with suppress(OSError):  # it is only for who looks on
            if under_way.products:
                self._path.write_bytes(under_way.model_dump_json().encode())
            else:
                self._path.unlink(missing_ok=True)

    def read(self) -> set[str]:
        """The products of this run; none where another run's stand there, or just these are being written."""
        try:
            found = _UnderWay.model_validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return set()
        return set(found.products) if found.run == self._run_id else set()
