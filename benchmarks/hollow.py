"""Whether hollow things become hollow: stage 1 on products of the validation split, hollow ones and solid ones.

    python benchmarks/hollow.py --each 1
    python benchmarks/hollow.py --each 1 --set elevation_deg='[-10, 60]' --families mug bowl vase

Prints a Markdown row for the hollow products and one for the solid ones: scores of the field, and of the mesh that
stage 2 starts from, against the true shapes; above_psnr is of that mesh from 60 degrees above, in the field's colours.
Under ``--results`` it keeps a picture of each from there: the true product, the field, the mesh in its colours, and the
mesh's normals. docs/experiments/hollow.md names it.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from PIL import Image

from mpod_pipeline.base.report import no_report
from mpod_pipeline.base.weights import Weights
from mpod_pipeline.geometry.mesh import Mesh, keep_large_components, sample_surface
from mpod_pipeline.method.cutouts import reference_view
from mpod_pipeline.method.detail import LEAST_PIECE, DetailParameters, start_shape
from mpod_pipeline.method.evaluation import draw_field
from mpod_pipeline.method.masks import MaskParameters, export_masks
from mpod_pipeline.method.outline import OutlineParameters, optimize_outline
from mpod_pipeline.method.steps.optimize_outline import Models, load
from mpod_pipeline.metrics.ground_truth import chamfer_distance, psnr, silhouette_iou
from mpod_pipeline.metrics.shape import cavity_depth, depth_error, opening_depth, volume_iou
from mpod_pipeline.pipelines.score_priors.reconstruction import Photographed, photo_of
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.rendering.rasterize import rasterize
from mpod_pipeline.rendering.shading import normal_picture
from mpod_pipeline.synthesis.studio import on_white
from mpod_pipeline.synthesis.views import members_of

HOLLOW = ("mug", "bowl", "vase")
SOLID = ("trainer", "teapot", "chair", "boxed_goods")
ALL_ROUND = Cameras.at([30.0 * i for i in range(12)], 15.0)
ABOVE = Cameras.at([0.0, 120.0], 60.0)
PIXELS = 96


def scores_of(
    member: tuple[str, int], models: Models, p: OutlineParameters, seed: int, picture: Path
) -> dict[str, Any]:
    photo = photo_of(*member)
    start = time.monotonic()
    field = optimize_outline(photo.cutouts, models.novel_view, p, seed, no_report, None, models.further).field
    seconds = time.monotonic() - start
    shape = start_shape(field, export_masks(field, MaskParameters()), DetailParameters())
    made, true = keep_large_components(shape.mesh().detach(), LEAST_PIECE), true_shape(photo)
    target = as_float(on_white(photo.scene.photograph(ALL_ROUND, PIXELS)))
    opaque = torch.from_numpy(photo.scene.photograph(ALL_ROUND, PIXELS)[:, None, ..., 3] / 255.0)
    pictures, opacity = draw_field(field, ALL_ROUND, PIXELS)
    front = draw_field(field, photo.cutouts.front.camera, PIXELS)[0].permute(0, 3, 1, 2)
    true_above = as_float(on_white(photo.scene.photograph(ABOVE, PIXELS)))
    Image.fromarray(looked_into(true_above, field, made)).save(picture)
    return {
        "psnr": float(psnr(pictures.permute(0, 3, 1, 2), target).mean()),
        "silhouette_iou": float(silhouette_iou(opacity[:, None], opaque).mean()),
        "photo_psnr": float(psnr(front, reference_view(photo.cutouts.front.picture, PIXELS).picture[None])),
        "above_psnr": float(psnr(painted(made, field).permute(0, 3, 1, 2), true_above).mean()),
        "volume_iou": volume_iou(made, true),
        "depth_error_above": depth_error(made, true),
        "chamfer": chamfer_distance(points_of(made), points_of(true)),
        "opening_depth": opening_depth(made),
        "cavity_depth": cavity_depth(made, true),
        "seconds": seconds,
    }


def true_shape(photo: Photographed) -> Mesh:
    product = photo.scene.product
    vertices = photo.scene.placement.apply(product.vertices)
    return Mesh(torch.from_numpy(vertices), torch.from_numpy(product.faces.astype(np.int64)))


def points_of(mesh: Mesh) -> np.ndarray:
    return sample_surface(mesh, 10_000, torch.Generator().manual_seed(0))[0].numpy()


def as_float(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255


def painted(made: Mesh, field: Any) -> torch.Tensor:
    """The mesh from above in the field's colours, [B, R, R, 3]: its inside is seen through no wall."""
    raster = rasterize(made.vertices, made.faces, made.vertices, ABOVE, PIXELS)
    pictures = torch.ones_like(raster.attributes)
    with torch.no_grad():
        seen = raster.opacity > 0
        pictures[seen] = field.colour(raster.attributes[seen])
    return pictures * raster.opacity[..., None] + 1 - raster.opacity[..., None]


def looked_into(true: torch.Tensor, field: Any, made: Mesh) -> np.ndarray:
    """The true product [B, 3, R, R], the field, the painted mesh, and its normals from above, side by side."""
    raster = rasterize(made.vertices, made.faces, made.vertex_normals(), ABOVE, PIXELS)
    normals = normal_picture(raster.attributes, raster.opacity, ABOVE, 1.0)
    views = [true.permute(0, 2, 3, 1), draw_field(field, ABOVE, PIXELS)[0], painted(made, field), normals]
    return (torch.cat([view for pictures in views for view in pictures], dim=1).clamp(0, 1) * 255).byte().numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=1, help="products of a family")
    parser.add_argument("--skip", type=int, default=0, help="so many products of a family, which others looked at")
    parser.add_argument("--families", nargs="*", default=[*HOLLOW, *SOLID])
    parser.add_argument("--split", default="validation", help="settings are for validation to choose")
    parser.add_argument("--set", nargs="*", default=[], help="of the section outline, as NAME=YAML; dots for its parts")
    parser.add_argument("--name", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--priors", type=Path, default=Path("data/06_models/priors"))
    parser.add_argument("--results", type=Path, default=Path("data/08_reporting/hollow"))
    arguments = parser.parse_args()
    arguments.results.mkdir(parents=True, exist_ok=True)

    settings = OutlineParameters().model_dump()
    for choice in arguments.set:
        name, value = choice.split("=", 1)
        *path, last = name.split(".")
        section = settings
        for part in path:
            section = section[part]
        section[last] = yaml.safe_load(value)
    p = OutlineParameters.model_validate(settings)
    models = load(p, {"novel_view_prior": Weights(arguments.priors / "novel_view", "cpu")})
    rows = []
    until = arguments.skip + arguments.each
    members = [members_of(arguments.split, [family], until)[arguments.skip :] for family in arguments.families]
    for member in (member for those in members for member in those):
        picture = arguments.results / f"{arguments.name}-{member[0]}-{member[1]}.png"
        row = {"product": f"{member[0]}-{member[1]}", **scores_of(member, models, p, arguments.seed, picture)}
        print(row, flush=True)
        rows.append(row)
    table = pd.DataFrame(rows)
    table["cavity_depth"] = table["cavity_depth"].astype(float)
    table.to_csv(arguments.results / f"{arguments.name}.csv", index=False)
    columns = [name for name in table if name != "product"]
    print("\n| choice |", " | ".join(columns), "|")
    print("|---|" + "---|" * len(columns))
    for kind, some in (("hollow", table["cavity_depth"].notna()), ("solid", table["cavity_depth"].isna())):
        mean = table[some].mean(numeric_only=True)
        print(f"| {arguments.name}, {some.sum()} {kind} |", " | ".join(f"{mean[c]:.3f}" for c in columns), "|")


if __name__ == "__main__":
    main()
