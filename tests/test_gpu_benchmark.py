"""The command that proves the GPU half: all of it that a CPU can do, and what becomes of a phase that goes wrong."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.command import ROOT

#: Ten times what an idle machine needs: the limits are not what is tested.
PATIENT = "--minutes=20"


@pytest.fixture(scope="module")
def gpu() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu", ROOT / "benchmarks/gpu.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu"] = module  # where dataclasses look for it
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_dry_run_goes_through_every_phase(gpu: ModuleType, tmp_path: Path) -> None:
    command = [sys.executable, "benchmarks/gpu.py", "--dry-run", PATIENT, "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report = json.loads((tmp_path / "gpu_report.json").read_text())
    assert [outcome["phase"] for outcome in report] == [phase.name for phase in gpu.PHASES]
    assert {outcome["state"] for outcome in report} == {"passed"}, done.stdout + str(report)
    assert done.returncode == 0
    assert all(outcome["found"] for outcome in report)
    found = {line["what"]: line for outcome in report for line in outcome["found"]}
    assert found["1512 triangles at 48²: same face"]["value"] == 1
    assert found["a product, projected"]["value"] > 0
    assert (tmp_path / "product.glb").is_file() and (tmp_path / "product.png").is_file()
    for phase in gpu.PHASES:
        assert phase.proves in done.stdout


def test_a_phase_that_fails_or_runs_out_of_time_keeps_what_it_found(gpu: ModuleType, tmp_path: Path) -> None:
    """As on a machine without CUDA, where the first phase knows its versions and no device."""
    machine = gpu.PHASES[0]
    failed = gpu.run_phase(machine, 120, ["--device", "cuda:99"], tmp_path)
    assert failed.state == "failed" and failed.said
    assert "Python" in [line["what"] for line in failed.found]
    late = gpu.run_phase(machine, 0.01, ["--device", "cpu"], tmp_path)
    assert (late.state, late.found) == ("out of time", [])
    assert "failed" in gpu.table([failed, late]) and "out of time" in gpu.table([failed, late])


def test_a_number_that_is_not_as_it_should_be_fails_its_phase(gpu: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "gpu_phases.py").write_text(
        "import sys, json, pathlib\n"
        "line = {'what': 'same face', 'value': 0.5, 'unit': '', 'passes': False}\n"
        "pathlib.Path(sys.argv[3], 'machine.jsonl').write_text(json.dumps(line))\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpu, "HERE", tmp_path)
        outcome = gpu.run_phase(gpu.PHASES[0], 60, [], tmp_path)
    assert outcome.state == "failed" and "NOT SO" in gpu.table([outcome])
