"""Prove the GPU half on a bare machine: no network, no full-size weights, ten minutes.

    python benchmarks/gpu.py --minutes 10
    python benchmarks/gpu.py --dry-run          # all that a CPU can do of it, at tiny sizes

Phases run in order of worth (benchmarks/gpu_phases.py), each in a process of its own with a time limit; what a phase
does not need, the next ones may have, and none stops another. ``gpu_report.json``, a log of each phase and pictures are
written to --out as they come; a table ends it. The exit code is 1 where a phase failed, or found what should not be.
What such a machine lacks, benchmarks/gpu_pack.py packs beforehand.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Phase:
    """seconds: its limit, of ten minutes. proves: for the closing table."""

    name: str
    seconds: int
    proves: str


PHASES = (
    Phase("machine", 20, "versions, the device, what packages are there"),
    Phase("agreement", 70, "what PyTorch renders on the device is what the CPU's kernels render"),
    Phase("product", 170, "a whole product with the small priors, against its true shape"),
    Phase("full_size", 90, "full-size networks with random weights: gradients, time and memory"),
    Phase("steps", 90, "steps of all stages with these: minutes per product, synchronisations"),
    Phase("tests", 60, "the tests, and those that skip without CUDA"),
    Phase("compile", 60, "what torch.compile saves"),
    Phase("settings", 40, "Adam's epsilon and the finest grid in stage 1"),
)


@dataclass
class Outcome:
    """found: the phase's own lines, in order. said: the end of its log, where it did not end well."""

    phase: str
    state: str
    seconds: float
    found: list[dict[str, Any]] = field(default_factory=list)
    said: str = ""


def run_phase(phase: Phase, seconds: float, options: list[str], out: Path) -> Outcome:
    """Run a phase for so many seconds at most."""
    lines, log = out / f"{phase.name}.jsonl", out / f"{phase.name}.log"
    lines.unlink(missing_ok=True)
    started = time.monotonic()
    with log.open("w") as file:
        command = [sys.executable, str(HERE / "gpu_phases.py"), phase.name, "--out", str(out), *options]
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
        try:
            state = "ran" if process.wait(seconds) == 0 else "failed"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            state = "out of time"
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.is_file() else []
    if state == "ran":
        state = "failed" if any(line["passes"] is False for line in found) else "passed"
    said = "" if state == "passed" else log.read_text(errors="replace")[-2000:]
    return Outcome(phase.name, state, round(time.monotonic() - started, 1), found, said)


def table(outcomes: list[Outcome]) -> str:
    """What was proved, phase by phase; then every number."""
    proves = {phase.name: phase.proves for phase in PHASES}
    rows = [f"{'phase':<11}{'state':<13}{'s':>6}  proves"]
    rows += [f"{o.phase:<11}{o.state:<13}{o.seconds:>6.0f}  {proves[o.phase]}" for o in outcomes]
    rows += [""]
    for outcome in outcomes:
        for line in outcome.found:
            verdict = {True: "ok", False: "NOT SO", None: ""}[line["passes"]]
            rows.append(f"{outcome.phase:<11}{line['what']:<64}{line['value']!s:>16} {line['unit']:<8}{verdict}")
    return "\n".join(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10.0, help="for all phases together")
    parser.add_argument("--dry-run", action="store_true", help="on the CPU, at tiny sizes")
    parser.add_argument("--out", type=Path, default=Path("gpu_report"), help="a folder for what is found")
    parser.add_argument("--phases", nargs="+", choices=[phase.name for phase in PHASES], help="only these")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    options = ["--device", "cpu", "--tiny"] if arguments.dry_run else ["--device", "cuda"]
    chosen = [phase for phase in PHASES if arguments.phases is None or phase.name in arguments.phases]
    scale = arguments.minutes * 60 / sum(phase.seconds for phase in chosen)
    outcomes: list[Outcome] = []
    spare = 0.0
    for phase in chosen:
        limit = phase.seconds * scale + spare
        outcomes.append(run_phase(phase, limit, options, arguments.out))
        spare = max(0.0, limit - outcomes[-1].seconds)
        print(f"{phase.name}: {outcomes[-1].state} after {outcomes[-1].seconds:.0f} s", flush=True)
        report = [asdict(outcome) for outcome in outcomes]
        (arguments.out / "gpu_report.json").write_text(json.dumps(report, indent=1))
    print(f"\n{table(outcomes)}")
    return int(any(outcome.state != "passed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
