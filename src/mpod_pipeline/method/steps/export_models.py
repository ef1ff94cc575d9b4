"""Give every refined surface its triangles, UVs, texture and size: one GLB per product, the file that shops take."""

from __future__ import annotations

from typing import Any

import numpy as np

from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.method.export import ExportParameters, export_model
from mpod_pipeline.method.size import long_side_m
from mpod_pipeline.method.steps import Given
from mpod_pipeline.method.studio_light import SAID, without_light

Settings = ExportParameters


def make(models: None, given: Given) -> dict[str, Any]:
    settings: ExportParameters = given.settings
    mesh = export_model(given["detail"], given["photos"], settings)
    made_by: dict[str, Any] = {"fingerprint": given.fingerprint, "settings": settings.model_dump(mode="json")}
    if settings.takes_light_off:
        mesh, light = without_light(mesh)
        made_by[SAID] = light.to_json()
    size = long_side_m(np.ptp(mesh.vertices, axis=0), settings, settings.long_side_m)
    return {"meshes": to_glb(mesh, size, name=given.product, made_by=made_by)}
