"""What the batch layer itself costs: the real pipeline over a catalog of 1,000 and of 10,000 products, with every
step's work replaced by one that costs nothing.

    python benchmarks/batch.py [--products 1000 10000] [--real-seconds 70]

For each size, in a process of its own: the first run (everything is made), the next night (nothing is), and
`kedro status`. Photos, priors, catalog, hooks, records, MLflow and disk are the real ones.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

ROOT = Path(__file__).parents[1]
STEPS = 100

#: Steps that report losses.
LEARNING = ("learn_tokens", "optimize_outline", "refine_detail")


def nothing_for(step: Any) -> Callable[..., dict[str, Any]]:
    """Work that gives the smallest artifacts at once."""
    import numpy as np
    import torch

    from mpod_pipeline.method.cutouts import Cutouts

    pixel = np.zeros((1, 1, 4), np.uint8)
    smallest = {
        "cutouts": Cutouts.of(pixel, 0.0),
        "aligned_photos": Cutouts.of(pixel, 0.0),
        "tokens": torch.zeros(1),
        "outline_fields": {},
        "outline_masks": {"mask": pixel},
        "detail_models": {},
        "meshes": b"glTF",
        "evaluations": {"psnr": 20.0},
        "turntables": pixel,
        "normals": pixel,
        "animations": pixel[None],
    }

    def work(inputs: Mapping[str, Any], seed: int, report: Callable[..., None], *others: Any) -> dict[str, Any]:
        if step.name in LEARNING:
            for n in range(1, STEPS + 1):
                report(n, STEPS, {"loss": 1 / n})
        return {name: smallest[name] for name in step.artifacts}

    return work


def free_step(run_step: Any, step: Any, open_work: Any, **options: Any) -> Iterator[dict[str, Any]]:
    return run_step(step, partial(nothing_for, step), **options)


def measure(folder: Path) -> None:
    """Run the pipeline on the photos in ``folder``, and print seconds and memory as JSON."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    from mpod_pipeline.batch import run_step
    from mpod_pipeline.datasets.codecs import CODECS
    from mpod_pipeline.method.steps import STEPS
    from mpod_pipeline.pipelines import steps
    from mpod_pipeline.settings import HOOKS

    bootstrap_project(ROOT)
    vars(steps)["run_step"] = partial(free_step, run_step)
    CODECS["outline_field"] = CODECS["painted_surface"] = CODECS["json"]
    batch = {"executor": {"kind": "in_process"}}
    params = {"photos": str(folder / "photos"), "workspace": str(folder / "workspace"), "batch": batch}

    def run() -> dict[str, float]:
        started = perf_counter()
        with KedroSession.create(ROOT, env="nightly", runtime_params=params) as session:
            session.run(pipeline_names=["catalog_to_3d"])
        counts = HOOKS[0].summary.steps
        assert [*counts] == [step.name for step in STEPS]
        return {"run": perf_counter() - started, "steps": sum(row["seconds"] for row in counts.values())}

    first = run()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"first": first, "next": run(), "memory_mb": memory}))


def status_seconds(folder: Path) -> float:
    started = perf_counter()
    params = f"--params=photos={folder / 'photos'},workspace={folder / 'workspace'}"
    subprocess.run([sys.executable, "-m", "kedro", "status", params], cwd=ROOT, check=True, capture_output=True)
    return perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--products", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--real-seconds", type=float, default=70.0, help="what a real product takes in all")
    parser.add_argument("--folder", type=Path, help="measure one run on its photos (used by the benchmark)")
    arguments = parser.parse_args()
    if arguments.folder:
        measure(arguments.folder)
        return
    for products in arguments.products:
        with tempfile.TemporaryDirectory(prefix="batch-") as name:
            folder = Path(name)
            (folder / "photos").mkdir()
            for number in range(products):
                (folder / "photos" / f"product-{number:06}.jpg").write_bytes(b"%d" % number)
            environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
            command = [sys.executable, __file__, "--folder", name]
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
            result = json.loads(done.stdout.splitlines()[-1])
            print(f"{products:,} products, {result['memory_mb']:.0f} MB at the peak")
            for name in ("first", "next"):
                run, steps = result[name]["run"], result[name]["steps"]
                part = steps / products / arguments.real_seconds
                print(
                    f"  {name} run: {run:.1f} s, its steps {steps:.1f} s: "
                    f"{1000 * steps / products:.1f} ms a product in all steps together, "
                    f"{part:.2%} of a real product's {arguments.real_seconds:.0f} s"
                )
            print(f"  kedro status: {status_seconds(folder):.1f} s", flush=True)


if __name__ == "__main__":
    main()
