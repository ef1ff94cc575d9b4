"""Seconds per product and step, on an idle machine and on a busy one, and what a second worker brings.

    python benchmarks/product.py                # all of it; half an hour on two cores
    python benchmarks/product.py alone          # the three sample products, each in a run of its own
    python benchmarks/product.py busy           # the first of them beside four busy processes
    python benchmarks/product.py throughput     # six products by one worker and by two

Every run is the real command with an empty workspace. Loading the models is part of a step's seconds, starting Python
is not.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
SAMPLES = ("blue-trainer.jpg", "kite-mug.png", "striped-lamp.png")


def seconds_of_steps(photos: Sequence[Path], workers: int) -> dict[str, Any]:
    """Make the photos' models: each step's seconds by name, and the most memory of a worker as ``peak_gb``."""
    with tempfile.TemporaryDirectory(prefix="product-") as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        for number, photo in enumerate(photos):
            shutil.copy(photo, folder / "photos" / f"{number}-{photo.name}")
        settings = f"photos={folder / 'photos'},workspace={folder / 'workspace'}"
        command = [sys.executable, "-m", "kedro", "run", f"--params={settings},batch.executor.workers={workers}"]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
        (summary,) = (folder / "workspace/08_reporting/runs").glob("*.json")
        steps = json.loads(summary.read_text())["steps"]
    assert all(counts["made"] == len(photos) for counts in steps.values())
    seconds = {step: counts["seconds"] for step, counts in steps.items()}
    return {**seconds, "peak_gb": max(counts["peak_bytes"] for counts in steps.values()) / 1e9}


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but work."""
    spinning = [multiprocessing.Process(target=_spin, daemon=True) for _ in range(processes)]
    for process in spinning:
        process.start()
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
            process.join()


def _spin() -> None:
    while True:
        pass


def show(title: str, rows: dict[str, dict[str, Any]], products: int = 1) -> None:
    """A Markdown table of seconds per product."""
    steps = [name for name in next(iter(rows.values())) if name != "peak_gb"]
    print(f"\n{title}\n\n| |", " | ".join(steps), "| all | GB/worker |")
    print("|---|" + "---|" * (len(steps) + 2))
    for name, row in rows.items():
        seconds = [row[step] / products for step in steps]
        print(f"| {name} |", " | ".join(f"{s:.1f}" for s in [*seconds, sum(seconds), row["peak_gb"]]), "|")
    sys.stdout.flush()


def total(row: dict[str, Any]) -> float:
    return sum(value for name, value in row.items() if name != "peak_gb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=["alone", "busy", "throughput", []])
    parser.add_argument("--busy", type=int, default=4, help="processes beside which a product is made")
    arguments = parser.parse_args()
    parts = arguments.parts or ["alone", "busy", "throughput"]
    photos = [ROOT / "data/01_raw" / name for name in SAMPLES]
    rows = {}
    if "alone" in parts or "busy" in parts:
        chosen = photos if "alone" in parts else photos[:1]
        rows = {photo.stem: seconds_of_steps([photo], 1) for photo in chosen}
        show("Alone, one worker", rows)
        print(f"\nMedian: {median(map(total, rows.values())):.1f} s a product")
    if "busy" in parts:
        with busy(arguments.busy):
            beside = seconds_of_steps(photos[:1], 1)
        show(f"Beside {arguments.busy} busy processes", {photos[0].stem: beside})
        print(f"\n{total(beside) / total(rows[photos[0].stem]):.1f} times as long as alone")
    if "throughput" in parts:
        made = {f"{workers} workers": seconds_of_steps([*photos, *photos], workers) for workers in (1, 2)}
        show("Six products", made, products=6)
        one, two = map(total, made.values())
        print(f"\nTwo workers make {one / two:.2f} times as many products as one.")


if __name__ == "__main__":
    main()
