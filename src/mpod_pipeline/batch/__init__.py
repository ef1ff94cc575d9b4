"""What a catalog needs beyond one product: isolation, skipping finished work, records, a lock, a summary.

A step's node calls `step.run_step`. It goes through the products one by one. `existing` knows the files on disk,
`due` decides by their `fingerprints` what has to be made, and `records` say what came of it. The `executor` has it
made. A failure of one product leaves the others alone (`isolation`). Each result is yielded as it finishes.
"""

from mpod_pipeline.base.checkpoint import Checkpoint
from mpod_pipeline.base.report import Report
from mpod_pipeline.batch.declared import BatchStep, History
from mpod_pipeline.batch.isolation import Work
from mpod_pipeline.batch.parameters import BatchParameters
from mpod_pipeline.batch.step import part_of_outputs, run_step

__all__ = ["BatchParameters", "BatchStep", "Checkpoint", "History", "Report", "Work", "part_of_outputs", "run_step"]
