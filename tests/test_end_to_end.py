"""The real command on the smallest real catalog: one photo, few steps, the shipped priors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import psutil
import pytest
from PIL import Image, ImageDraw, ImageFilter
from pygltflib import GLTF2
from safetensors import safe_open

from mpod_pipeline.geometry.glb import from_glb
from mpod_pipeline.method.steps import STEPS
from tests.command import ROOT, environment
from tests.priors.tiny import save_tiny_novel_view, save_tiny_text_to_image

FEW_STEPS = "textual_inversion.steps=2,outline.steps=30,detail.steps=3,evaluation.sheet_resolution=96"


def kedro_run(photos: Path, workspace: Path, *options: str, params: str = "") -> subprocess.CompletedProcess[str]:
    """`kedro run` on the photos, as a user types it."""
    settings = ",".join(filter(None, [f"photos={photos},workspace={workspace}", FEW_STEPS, params]))
    command = [sys.executable, "-m", "kedro", "run", "--pipeline=catalog_to_3d", f"--params={settings}"]
    command += options
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment(workspace.parent),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def in_mlflow(folder: Path, scores: list[str]) -> None:
    """The run is there, with the catalog's scores, the products' as a table, the model and the picture."""
    client = mlflow.MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [e for e in client.search_experiments() if e.name == "mpod_pipeline"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert {f"mean/{score}" for score in scores} <= set(run.data.metrics)
    assert not [name for name in run.data.metrics if name.startswith("mug/")]
    made = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert {"scores.json", "scores.csv", "summary.json"} <= made
    assert [file.path for file in client.list_artifacts(run.info.run_id, "meshes")] == ["meshes/mug.glb"]
    assert run.data.params["outline.steps"] == "30"
    assert [file.path for file in client.list_artifacts(run.info.run_id, "turntables")] == ["turntables/mug.png"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A red mug on grey paper with a soft shadow, and a file that is no picture."""
    folder = tmp_path / "photos"
    folder.mkdir()
    photo = Image.new("RGB", (320, 320), (225, 225, 225))
    shadow = Image.new("L", photo.size, 0)
    ImageDraw.Draw(shadow).ellipse((90, 230, 250, 270), fill=90)
    photo.paste((120, 120, 120), mask=shadow.filter(ImageFilter.GaussianBlur(8)))
    draw = ImageDraw.Draw(photo)
    draw.ellipse((190, 130, 260, 210), outline=(150, 25, 25), width=14)
    draw.rectangle((100, 90, 215, 240), fill=(190, 35, 35))
    draw.ellipse((100, 75, 215, 105), fill=(120, 20, 20))
    draw.ellipse((100, 225, 215, 255), fill=(190, 35, 35))
    photo.save(folder / "mug.jpg", quality=92)
    (folder / "letter.jpg").write_text("Dear shop, the photo is attached.")
    return folder


@pytest.mark.slow
def test_a_photo_becomes_a_scored_model_and_is_not_made_twice(
    photos: Path, tmp_path: Path, khronos_report: Callable[[Path], dict[str, Any]] | None
) -> None:
    workspace = tmp_path / "workspace"
    first = kedro_run(photos, workspace)
    assert first.returncode == 0, first.stdout[-3000:] + first.stderr[-3000:]

    glb = workspace / "07_model_output/meshes/mug.glb"
    model = from_glb(glb.read_bytes())
    assert 1_000 < len(model.faces) < 100_000 and model.texture.shape == (1024, 1024, 3)
    if khronos_report:
        issues = khronos_report(glb)["issues"]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), issues["messages"]
    for picture in ("02_intermediate/cutouts", "08_reporting/turntables", "08_reporting/normals"):
        Image.open(workspace / picture / "mug.png").load()
    scores = pd.read_csv(workspace / "08_reporting/scores.csv").set_index("product")
    assert list(scores.index) == ["mug"]
    assert scores.loc["mug"].drop("flags").notna().all()  # it may have nothing to flag
    measures = ("cx", "similarity", "mvc")
    columns = [f"seconds_{step.name}" for step in STEPS]
    columns += [f"{of}{name}_efficientnet_lite0" for of in ("", "outline_") for name in measures]
    assert set(columns) <= set(scores.columns)
    assert scores.loc["mug", ["pieces", "watertight"]].tolist() == [1, 1]
    in_mlflow(tmp_path, columns)
    failures = pd.read_csv(workspace / "08_reporting/failures.csv")
    assert failures[["product", "step", "error"]].to_numpy().tolist() == [["letter", "segment", "ProductError"]]
    for place in ("meshes:", "turntables:", "normals:", "scores:", "MLflow run: http://127.0.0.1:5000/#/experiments/"):
        assert place in first.stdout

    mesh, field = workspace / "07_model_output/meshes/mug.glb", workspace / "06_models/outline_fields"
    before = mesh.read_bytes(), (field / "mug.safetensors").stat().st_mtime_ns
    made = mesh.stat().st_mtime_ns
    again = kedro_run(photos, workspace, "--from-nodes=optimize_outline")
    assert again.returncode == 0
    assert mesh.stat().st_mtime_ns == made

    changed = kedro_run(photos, workspace, "--nodes=refine_detail,export_models", params="detail.mask_guidance=none")
    assert changed.returncode == 0
    assert mesh.read_bytes() != before[0]
    assert (field / "mug.safetensors").stat().st_mtime_ns == before[1]

    (photos / "products.csv").write_text("id,photo,photo_elevation_deg,long_side_m\nmug,mug.jpg,25,0.12\n")
    # where the camera stood is for `segment` to know
    measured = kedro_run(photos, workspace, "--to-nodes=export_models")
    assert measured.returncode == 0
    assert (field / "mug.safetensors").stat().st_mtime_ns != before[1]
    document = GLTF2.load_from_bytes(mesh.read_bytes())
    positions = document.accessors[document.meshes[0].primitives[0].attributes.POSITION]
    sides = np.subtract(positions.max, positions.min)
    assert sides.max() == pytest.approx(0.12, rel=1e-5)  # float32


@pytest.mark.slow
def test_the_whole_pipeline_goes_through_pytorchs_backend_on_a_cpu(photos: Path, tmp_path: Path) -> None:
    """What renders on a GPU, with tiny priors."""
    workspace, priors = tmp_path / "workspace", tmp_path / "priors"
    save_tiny_text_to_image(priors / "text_to_image")
    save_tiny_novel_view(priors / "novel_view")
    sizes = "outline.resolutions=[24],masks.azimuths=3,masks.resolution=32,detail.grid_resolution=20"
    baked = "detail.resolution=48,export.texture_size=128,export.triangles=2000,evaluation.resolution=64"
    run = kedro_run(photos, workspace, params=f"priors={priors},device=cpu,backend=torch,{sizes},{baked}")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    assert len(from_glb((workspace / "07_model_output/meshes/mug.glb").read_bytes()).faces) > 500
    for made, kind in (("outline_fields", "outline_field"), ("detail_models", "painted_surface")):
        with safe_open(workspace / f"06_models/{made}/mug.safetensors", framework="pt") as file:
            header = json.loads(file.metadata()[kind])
        assert (header["backend"], header["device"]) == ("torch", "cpu")
    (record,) = (workspace / "08_reporting/records/refine_detail").glob("mug*")
    assert json.loads(record.read_text())["state"] == "made"


@pytest.mark.slow
def test_a_run_that_is_told_to_stop_says_so_and_closes_its_books(photos: Path, tmp_path: Path) -> None:
    settings = f"photos={photos},workspace={tmp_path / 'workspace'},textual_inversion.steps=1000000"
    settings += ",textual_inversion.looks=400"  # or it would soon end by itself
    settings += ",batch.checkpoint_every_seconds=0"
    command = [sys.executable, "-m", "kedro", "run", "--nodes=segment,learn_tokens", f"--params={settings}"]
    command += ["--env=nightly"]  # whose log is quiet: no bar of any library, no line but warnings
    run = subprocess.Popen(
        command, cwd=ROOT, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    reporting = tmp_path / "workspace/08_reporting"
    while not (tmp_path / "workspace/06_models/checkpoints/learn_tokens/mug.pt").exists():
        assert run.poll() is None, run.stdout and run.stdout.read()
        time.sleep(0.05)
    workers = psutil.Process(run.pid).children()
    run.send_signal(signal.SIGTERM)
    try:
        output, errors = run.communicate(timeout=120)
    finally:
        run.kill()
    assert run.returncode == 130
    warning, told = errors.splitlines()
    assert "WARNING segment: letter failed." in warning
    assert told == "Error: The run was told to stop; the next one goes on."
    assert "stopped: StoppedError" in output and "meshes:" not in output
    assert list(pd.read_csv(reporting / "failures.csv")["product"]) == ["letter"]
    (summary,) = (json.loads(path.read_text()) for path in (reporting / "runs").glob("*.json"))
    assert summary["verdict"] == "stopped"
    assert not psutil.wait_procs(workers, timeout=20)[1]


@pytest.mark.slow
def test_a_worker_that_is_killed_in_each_step_costs_no_product(photos: Path, tmp_path: Path) -> None:
    workspace = tmp_path / "workspace"
    settings = f"photos={photos},workspace={workspace},{FEW_STEPS},batch.checkpoint_every_seconds=0"
    log = tmp_path / "log"
    with log.open("w") as output:
        run = subprocess.Popen(
            [sys.executable, "-m", "kedro", "run", f"--params={settings}"],
            cwd=ROOT,
            env=environment(tmp_path),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    killed: dict[int, set[str]] = {}

    def steps_made() -> set[str]:
        return {path.parent.name for path in (workspace / "08_reporting/records").glob("*/mug.json")}

    while run.poll() is None:
        made = steps_made()
        for child in psutil.Process(run.pid).children():
            with suppress(psutil.NoSuchProcess):
                if "spawn_main" in " ".join(child.cmdline()) and made not in killed.values():
                    time.sleep(0.5)  # into the middle of its work, where that is long enough
                    if steps_made() == made:  # or it would be another step's second death
                        child.kill()
                        killed[child.pid] = made
        time.sleep(0.05)
    assert run.returncode == 0, log.read_text()[-3000:]
    assert len(killed) >= 5
    assert pd.read_csv(workspace / "08_reporting/scores.csv")["product"].tolist() == ["mug"]
    assert list(pd.read_csv(workspace / "08_reporting/failures.csv")["product"]) == ["letter"]


def test_bad_photos_are_recorded_and_the_good_ones_are_cut_out(photos: Path, tmp_path: Path) -> None:
    Image.new("RGB", (1, 1)).save(photos / "dot.png")
    Image.new("RGB", (640, 480), "white").save(photos / "blank.png")
    Image.new("L", (20_000, 300), 128).save(photos / "panorama.png")
    frames = [Image.new("P", (64, 64), colour) for colour in (1, 2, 3)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    (photos / "cut-off.jpg").write_bytes((photos / "mug.jpg").read_bytes()[:900])
    (photos / "empty.jpg").touch()
    good = ["mug,mug.jpg", "mug two,mug.jpg"]
    rows = ["letter,letter.jpg", "dot,dot.png", "blank,blank.png", "panorama,panorama.png"]
    rows += ["moving,moving.gif", "cut-off,cut-off.jpg", "empty,empty.jpg", "absent,absent.jpg"]
    rows += ["../evil,mug.jpg", "a/b,mug.jpg", "outside,../../secret.jpg"]
    (photos / "products.csv").write_text("id,photo\n" + "\n".join(good + rows) + "\n")
    beside = {path.name for path in tmp_path.iterdir()}

    workspace = tmp_path / "workspace"
    run = kedro_run(photos, workspace, "--nodes=segment")
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]

    cutouts = sorted(path.name for path in (workspace / "02_intermediate/cutouts").iterdir())
    assert cutouts == ["mug two.png", "mug.png"]
    failures = pd.read_csv(workspace / "08_reporting/failures.csv").set_index("product")
    assert sorted(failures.index) == sorted(row.split(",")[0] for row in rows)
    assert set(failures["step"]) == {"segment"} and set(failures["error"]) == {"ProductError"}
    for sentence in failures["message"]:
        assert sentence[0].isupper() and sentence.endswith(".") and "Error" not in sentence
    made = {path.name for path in tmp_path.iterdir()} - beside
    assert made <= {"workspace", "mlflow.db", "mlartifacts", "mlruns"}, made

    lines = run.stderr.splitlines()  # the day's log
    assert [line.split(maxsplit=2)[2] for line in lines if " INFO " in line] == [
        "INFO Step 1 of 1: segment",
        f"INFO segment: 13 products, 2 made, 11 failed, {lines[-1].rsplit(', ', 1)[1]}",
    ]
    assert all(" INFO " in line or " WARNING segment: " in line for line in lines)
    assert "GLBs:" not in run.stdout and "failures:" in run.stdout  # only what is there
