"""What a catalog needs beyond one product: isolation, skipping finished work, records, a lock, a summary.

A stage's node calls `stage.run_stage`: the `ledger` decides product by product what has to be made (by
`records` and `fingerprints`), the `executor` has it made in such a way that one product's trouble stays its
own (`isolation`), and each result is yielded as it finishes.
"""

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.report import Report
from mpod_pipeline.batch.isolation import Work
from mpod_pipeline.batch.ledger import History, Stage
from mpod_pipeline.batch.parameters import BatchParameters
from mpod_pipeline.batch.stage import part_of_outputs, run_stage

__all__ = ["BatchParameters", "Checkpoint", "History", "Report", "Stage", "Work", "part_of_outputs", "run_stage"]
