"""Whether a method's models are better than its own silhouettes with the photo laid over them, from every side.

    python benchmarks/copied_photo.py WORKSPACE CATALOG

WORKSPACE is that of `kedro run --pipeline=compare_methods`, CATALOG its folder of photos with ``ground_truth``. Printed
are, per method and in the mean over products: PSNR (dB) and feature distance of unseen views; of how many products the
model is better than the copy by each; and PSNR of the photo itself in the place of every view.
"""

from __future__ import annotations

import argparse
from itertools import groupby
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F

from mpod_pipeline.cutout.matting import bounding_box, extend_colours
from mpod_pipeline.datasets.codecs import CODECS
from mpod_pipeline.geometry.foreign_glb import from_any_glb
from mpod_pipeline.geometry.texture import draw
from mpod_pipeline.method.comparison.views import ModelViews
from mpod_pipeline.method.cutouts import Cutout, reference_view, turn_deg
from mpod_pipeline.method.evaluation import detail_scores
from mpod_pipeline.method.masks import UNSEEN_DEG
from mpod_pipeline.metrics.encoders import LayeredExtractor, load_efficientnet_lite0
from mpod_pipeline.metrics.ground_truth import psnr
from mpod_pipeline.rendering.cameras import Cameras


def laid_over(photo: Cutout, opacity: Tensor) -> Tensor:
    """The photo stretched over silhouettes [N, R, R], on white: [N, 3, R, R]."""
    top, left, bottom, right = bounding_box(photo.picture[..., 3] >= 128)
    colours = torch.from_numpy(extend_colours(photo.picture)[top:bottom, left:right, :3])
    colours = colours.permute(2, 0, 1)[None].float() / 255
    views = torch.ones(len(opacity), 3, *opacity.shape[1:])
    for view, silhouette in zip(views, opacity, strict=True):
        top, left, bottom, right = bounding_box((silhouette >= 0.5).numpy())
        size = bottom - top, right - left
        view[:, top:bottom, left:right] = F.interpolate(colours, size, mode="area")[0]
    return views * opacity[:, None] + 1 - opacity[:, None]


def scores_of(
    pictures: Tensor, opacity: Tensor, true: tuple[Tensor, Tensor], unseen: Tensor, encoder: LayeredExtractor
) -> tuple[float, float]:
    """PSNR and feature distance of pictures [N, 3, R, R] and opacities [N, R, R]."""
    made = pictures[unseen], opacity[unseen, None]
    details = detail_scores(made, (true[0][unseen], true[1][unseen, None]), [encoder])
    return float(psnr(pictures, true[0]).mean()), details["feature_distance_efficientnet_lite0"]


def true_views(path: Path, cameras: Cameras, resolution: int) -> tuple[Tensor, Tensor]:
    """Pictures [N, 3, R, R] on white and opacities [N, R, R] of a true model."""
    pictures, opacity = draw(from_any_glb(path.read_bytes()), cameras, resolution)[:2]
    return pictures.permute(0, 3, 1, 2).contiguous(), opacity


def _product(path: Path) -> str:
    return path.stem


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("catalog", type=Path)
    arguments = parser.parse_args()
    encoder = load_efficientnet_lite0()
    rows = []
    paths = sorted((arguments.workspace / "methods").glob("*/07_model_output/model_views/*.npz"), key=_product)
    for product, of_product in groupby(paths, _product):
        by_method: dict[str, ModelViews] = {
            path.parents[2].name: CODECS["model_views"].read(path) for path in of_product
        }
        one = next(iter(by_method.values()))  # all are seen by the same cameras
        resolution = one.pictures.shape[1]
        true = true_views(arguments.catalog / "ground_truth" / f"{product}.glb", one.cameras[1:], resolution)
        unseen = torch.from_numpy(turn_deg(one.azimuth_deg[1:], 0.0) > UNSEEN_DEG)
        photo = CODECS["cutouts"].read(arguments.workspace / "02_intermediate/cutouts" / f"{product}.png").front
        unchanged = reference_view(photo.picture, resolution).picture.expand_as(true[0])
        for method, views in by_method.items():
            pictures, opacity = (each[1:] for each in views.tensors())
            made = scores_of(pictures.permute(0, 3, 1, 2).contiguous(), opacity, true, unseen, encoder)
            copy = scores_of(laid_over(photo, opacity), opacity, true, unseen, encoder)
            rows.append(
                {
                    "method": method,
                    "psnr": made[0],
                    "copy_psnr": copy[0],
                    "better_psnr": made[0] > copy[0],
                    "features": made[1],
                    "copy_features": copy[1],
                    "better_features": made[1] < copy[1],
                    "unchanged_psnr": float(psnr(unchanged, true[0]).mean()),
                }
            )
    table = pd.DataFrame(rows).groupby("method").mean(numeric_only=True)
    print(table.to_string(float_format="%.3f"))


if __name__ == "__main__":
    main()
