"""Mesh to scores and pictures to look at."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import pandas as pd

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.batch.records import read_record
from mpod_pipeline.datasets import History, Partitions
from mpod_pipeline.errors import ProductError
from mpod_pipeline.geometry.foreign_glb import from_any_glb
from mpod_pipeline.geometry.glb import TexturedMesh, from_glb
from mpod_pipeline.method import evaluation
from mpod_pipeline.method.evaluation import EvaluationParameters, load_encoders
from mpod_pipeline.pipelines import STAGES

logger = logging.getLogger(__name__)

STAGE = Stage(
    "evaluate",
    artifacts=("evaluations", "turntables", "normals", "animations"),
    code_version=6,
    made_by={
        "mesh": "export_models",
        "cutout": "segment",
        "cutout_check": "segment",
        "word_check": "learn_tokens",
        "field": "optimize_outline",
    },
    optional=frozenset({"ground_truth"}),
)


def evaluate(
    meshes: Partitions,
    cutouts: Partitions,
    cutout_checks: Partitions,
    word_checks: Partitions,
    outline_fields: Partitions,
    ground_truth: Partitions,
    parameters: EvaluationParameters,
    product_settings: dict[str, dict[str, str]],
    batch: BatchParameters,
    history: History,
) -> Iterator[dict[str, Any]]:
    """Score every mesh, draw its turntable and normals, and put all scores into one table."""
    chunks = run_stage(
        STAGE,
        partial(_evaluator, parameters),
        inputs={
            "mesh": meshes,
            "cutout": cutouts,
            "cutout_check": cutout_checks,
            "word_check": word_checks,
            "field": outline_fields,
            "ground_truth": ground_truth,
        },
        parameters=parameters,
        batch=batch,
        history=history,
        product_settings=product_settings,
    )
    for chunk in chunks:
        # The summary comes last, when all scores are on disk.
        yield {**chunk, "scores": tabulate_scores(history) if chunk["records"]["summary"] else pd.DataFrame()}


def _evaluator(parameters: EvaluationParameters) -> Work:
    encoders = load_encoders(parameters)

    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        truth, flags = read_truth(inputs["ground_truth"])
        checks = [inputs["cutout_check"], inputs["word_check"]]
        checked = {name: value for check in checks for name, value in check.items() if name != "flags"}
        result = evaluation.evaluate(
            inputs["cutout"],
            inputs["field"],
            from_glb(inputs["mesh"]),
            truth,
            encoders,
            inputs["parameters"],
        )
        return {
            "evaluations": {
                **result.scores,
                **checked,
                "flags": "; ".join(
                    filter(None, [*(check["flags"] for check in checks), *result.flags, *flags])
                ),
            },
            "turntables": result.pictures.sheet,
            "normals": result.pictures.normals,
            "animations": result.pictures.turn,
        }

    return work


def read_truth(data: bytes | None) -> tuple[TexturedMesh | None, list[str]]:
    """The true model, and what there is to say of a file that holds none: it costs the scores against it alone."""
    if data is None:
        return None, []
    try:
        return from_any_glb(data), []
    except ProductError as error:
        return None, [f"ground truth not used: {error}"]


def tabulate_scores(history: History) -> pd.DataFrame:
    """One row a product whose evaluation stands, with its scores and the seconds of each stage."""
    evaluations, records = history.artifacts["evaluations"], history.records(STAGE.name)
    rows = []
    for product in evaluations:
        record = read_record(records, product)
        if record and record.state == "made":
            try:
                scores = evaluations[product]()
            except (OSError, ValueError) as error:  # of a product that this run did not look at
                logger.warning("The scores of %s cannot be read and are left out: %s", product, error)
                continue
            rows.append({"product": product, **scores, **_seconds(history, product)})
    return pd.DataFrame(rows, columns=None if rows else ["product"])


def _seconds(history: History, product: str) -> dict[str, float]:
    records = {stage: read_record(history.records(stage), product) for stage in STAGES}
    return {f"seconds_{stage}": record.seconds for stage, record in records.items() if record}
