"""The notebook runs from its first cell to its last, on what a run leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from mpod_pipeline.datasets import PicturePartitions, ProductPartitions, ProductTable
from mpod_pipeline.fields.outline_field import OutlineField
from mpod_pipeline.geometry.glb import to_glb
from mpod_pipeline.geometry.texture import bake
from tests.command import ROOT, environment
from tests.geometry.shapes import box
from tests.method.conftest import SMALL_FIELD

#: What Jupyter does with the cells, without Jupyter; the workspace is told as the notebook's first lines say.
RUN = """
import json, sys
from pathlib import Path
import matplotlib
matplotlib.use("agg")
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
cells = [cell for cell in json.loads(Path(sys.argv[1]).read_text())["cells"] if cell["cell_type"] == "code"]
sources = ["".join(cell["source"]) for cell in cells]
sources.insert(1, f"%reload_kedro --params=workspace={sys.argv[2]}")
photo = 'reconstruct("data/01_raw/kite-mug.png"'
few = ', textual_inversion={"steps": 2}, outline={"steps": 30}, detail={"steps": 3}'
assert photo in sources[-1]
sources[-1] = sources[-1].replace(photo, photo + few)
for source in sources:
    shell.run_cell(source).raise_error()
"""


def leave(workspace: Path) -> None:
    """One product, as a run leaves it."""
    reporting = workspace / "08_reporting"
    picture = np.full((48, 64, 3), 200, np.uint8)
    for kind in ("turntables", "normals"):
        PicturePartitions(path=str(reporting / kind)).save({"mug": picture})

    def save(folder: Path, format: str, value: object) -> None:
        ProductPartitions(path=str(folder), format=format).save({"mug": value})

    save(reporting / "animations", "animation", np.stack([picture, picture // 2]))
    save(reporting / "losses/optimize_outline", "json", {"sds": [[1, 2.0], [2, 1.0]]})
    save(workspace / "07_model_output/meshes", "glb", to_glb(bake(box(), torch.sigmoid, 64), 0.3, name="mug"))
    save(workspace / "06_models/outline_fields", "outline_field", OutlineField(SMALL_FIELD).stored())
    scores = pd.DataFrame([{"product": "mug", "photo_iou": 0.98765, "watertight": True, "flags": ""}])
    ProductTable(filepath=str(reporting / "scores.csv")).save(scores)
    failures = pd.DataFrame(columns=["product", "step", "error", "message"])
    ProductTable(filepath=str(reporting / "failures.csv")).save(failures)


@pytest.mark.slow
def test_every_cell_runs(tmp_path: Path) -> None:
    leave(tmp_path / "workspace")
    notebook = ROOT / "notebooks/look_at_results.ipynb"
    assert all(not cell.get("outputs") for cell in json.loads(notebook.read_text())["cells"])
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(notebook), str(tmp_path / "workspace")],
        cwd=ROOT,
        env={**environment(tmp_path), "IPYTHONDIR": str(tmp_path / "ipython")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "<GLB: 12 triangles" in done.stdout and "0.988" in done.stdout
    assert "Reconstruction in" in done.stdout


def test_the_readmes_pictures_come_from_a_workspace(tmp_path: Path) -> None:
    leave(tmp_path)
    command = [sys.executable, "docs/images/make.py", str(tmp_path), str(tmp_path / "demo.png"), "mug"]
    subprocess.run(command, cwd=ROOT, env=environment(tmp_path), check=True)
    with Image.open(tmp_path / "demo.png") as picture:
        assert picture.size == (6 * 240, 2 * 240)
