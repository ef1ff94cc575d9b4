"""What people decided on the page: read by runs, written by `kedro review`."""

from __future__ import annotations

from mpod_pipeline.datasets.place import ReadOnly
from mpod_pipeline.publish.decisions import Decisions, read_decisions


class DecisionsTable(ReadOnly[Decisions]):
    """A CSV file of decisions; none where there is no file."""

    WHAT = "The table of decisions, which `kedro review` writes,"

    def load(self) -> Decisions:
        return read_decisions(self.path)
