"""Products that are photographed from several sides and whose shape is known: with one photo, with two, with all four.

    python benchmarks/real_products.py FOLDER [--photos 1 2 4] [--products ID ...] [--to outline]

FOLDER is a folder of photos as `kedro run --params=photos=FOLDER` takes it (`ID.front.jpg`, `ID.back.jpg`,
`ID.left.jpg`, `ID.right.jpg`), with `ground_truth/ID.glb` in the front photo's frame. Printed are, per product and in
the mean: PSNR (dB) and silhouette IoU of the views of `evaluate`; Chamfer distance and F-scores at 0.05 and 0.1, of the
product's long side; the feature distance of views that one photo leaves unseen; and seconds, of all steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.cutout.photo_file import PhotoFile
from mpod_pipeline.datasets import PhotoFolder
from mpod_pipeline.geometry.foreign_glb import from_any_glb
from mpod_pipeline.geometry.glb import TexturedMesh, from_glb
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.evaluation import _points, _shape, detail_scores, draw_field
from mpod_pipeline.method.steps import STEPS, load_models, run_steps
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.metrics.ground_truth import chamfer_distance, f_score, psnr, silhouette_iou
from mpod_pipeline.rendering.cameras import Cameras

ROOT = Path(__file__).parents[1]
PRIORS = ROOT / "data/06_models/priors"
#: Which sides so many photos are of.
SIDES: dict[int, tuple[str, ...]] = {1: (), 2: ("back",), 4: ("back", "left", "right")}
VIEWS, ELEVATION_DEG, RESOLUTION, POINTS = 12, 15.0, 128, 10_000


def scores_of(field: Any, mesh: TexturedMesh | None, truth: TexturedMesh, encoder: Any) -> dict[str, float]:
    """Of stage 1's field, and of the model where there is one."""
    azimuths = torch.arange(VIEWS).float() * 360 / VIEWS
    cameras = Cameras.at(azimuths, ELEVATION_DEG)
    true = [x.cpu() for x in draw(truth, cameras, RESOLUTION)[:2]]
    seen = {"outline_": draw_field(field, cameras, RESOLUTION)}
    if mesh is not None:
        seen[""] = draw(mesh, cameras, RESOLUTION)[:2]
    scores: dict[str, float] = {}
    unseen = ((azimuths + 180) % 360 - 180).abs() > 45
    true_pictures = true[0].permute(0, 3, 1, 2).contiguous()
    for name, (pictures, opacity) in seen.items():
        made = pictures.permute(0, 3, 1, 2).contiguous()
        scores[f"{name}psnr"] = float(psnr(made, true_pictures).mean())
        scores[f"{name}iou"] = float(silhouette_iou(opacity[:, None], true[1][:, None]).mean())
        details = detail_scores(
            (made[unseen], opacity[unseen, None]), (true_pictures[unseen], true[1][unseen, None]), [encoder]
        )
        scores[f"{name}features"] = details["feature_distance_efficientnet_lite0"]
    if mesh is not None:
        made_points, true_points = (_points(_shape(each), POINTS) for each in (mesh, truth))
        long_side = float(np.ptp(truth.vertices, axis=0).max())
        scores["chamfer"] = chamfer_distance(made_points / long_side, true_points / long_side)
        for near in (0.05, 0.1):
            scores[f"f_{near}"] = f_score(made_points / long_side, true_points / long_side, near)
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--photos", type=int, nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--products", nargs="+")
    parser.add_argument("--to", choices=["outline", "end"], default="end")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the models")
    parser.add_argument("--set", nargs="*", default=[], metavar="SECTION.NAME=VALUE", help="settings, in YAML")
    arguments = parser.parse_args()
    photos = PhotoFolder(path=str(arguments.folder)).load()
    steps = [step for step in STEPS if arguments.to == "end" or step.name in ("segment", "optimize_outline")]
    settings = changed({step.section: step.settings() for step in STEPS}, arguments.set)
    priors = {f"{name}_prior": Weights(PRIORS / name, "cpu") for name in ("novel_view", "text_to_image")}
    models = load_models(steps, settings, priors)
    encoder = load_efficientnet_lite0()
    rows = []
    for product in arguments.products or list(photos):
        truth = from_any_glb((arguments.folder / "ground_truth" / f"{product}.glb").read_bytes())
        for count in arguments.photos:
            given = {"photos": photos[product](), "further_photos": further(photos, product, SIDES[count])}
            started = time.perf_counter()
            made, _ = run_steps(steps, models, settings, given, product=product)
            seconds = time.perf_counter() - started
            mesh = from_glb(made["meshes"]) if "meshes" in made else None
            scores = scores_of(made["outline_fields"], mesh, truth, encoder)
            rows.append({"product": product, "photos": count, **scores, "seconds": seconds})
            print(
                pd.DataFrame(rows[-1:]).to_string(index=False, header=len(rows) == 1, float_format="%.3f"), flush=True
            )
            for photo in made["aligned_photos"].others:
                print(f"    {photo.name}: {photo.azimuth_deg:.1f}, {photo.elevation_deg:.1f}", flush=True)
            if arguments.pictures:
                save_pictures(arguments.pictures / f"{product}-{count}.png", made)
    table = pd.DataFrame(rows)
    print(f"\n{table.groupby('photos').mean(numeric_only=True).to_string(float_format='%.3f')}")


def further(photos: Any, product: str, sides: Sequence[str]) -> list[PhotoFile]:
    there = {photo.name: photo for photo in (photos.further[product]() if product in photos.further else [])}
    return [there[side] for side in sides if side in there]


def changed(settings: Mapping[str, Any], changes: Sequence[str]) -> dict[str, Any]:
    """The settings with ``section.name=value`` in their places."""
    from mpod_pipeline.commands.params import read_params

    told = read_params(changes)
    return {
        section: type(model).model_validate({**model.model_dump(), **told.get(section, {})})
        for section, model in settings.items()
    }


def save_pictures(path: Path, made: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if "turntables" in made:
        Image.fromarray(made["turntables"]).resize((1024, 1024 * made["turntables"].shape[0] // 2048)).save(path)
        return
    views = draw_field(made["outline_fields"], Cameras.at(torch.arange(8).float() * 45, 15.0), 160)[0]
    row = torch.cat(list(views), dim=1)
    Image.fromarray((row * 255).byte().numpy()).save(path)


if __name__ == "__main__":
    main()
