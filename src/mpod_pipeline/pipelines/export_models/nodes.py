"""Stage 2's surface to GLB, the file that shops take."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mpod_pipeline.batch import BatchParameters, Checkpoint, Report, Stage, Work, run_stage
from mpod_pipeline.datasets import History, Partitions
from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.method.export import ExportParameters, export_model

STAGE = Stage(
    "export_models",
    artifacts=("meshes",),
    code_version=1,
    made_by={"detail": "refine_detail", "cutout": "segment"},
)


def export_models(
    detail_models: Partitions,
    cutouts: Partitions,
    parameters: ExportParameters,
    product_settings: dict[str, dict[str, str]],
    batch: BatchParameters,
    history: History,
) -> Iterator[dict[str, Any]]:
    """Give every refined surface its triangles, UVs, texture and size; one GLB a product."""
    yield from run_stage(
        STAGE,
        _exporter,
        inputs={"detail": detail_models, "cutout": cutouts},
        parameters=parameters,
        batch=batch,
        history=history,
        product_settings=product_settings,
    )


def _exporter() -> Work:
    def work(
        inputs: Mapping[str, Any], seed: int, report: Report, checkpoint: Checkpoint | None
    ) -> dict[str, Any]:
        own = inputs["parameters"]
        mesh = export_model(inputs["detail"], inputs["cutout"], own)
        made_by = {"fingerprint": inputs["fingerprint"], "settings": own.model_dump(mode="json")}
        return {"meshes": to_glb(mesh, own.long_side_m, name=inputs["product"], made_by=made_by)}

    return work
