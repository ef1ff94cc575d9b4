"""How well products are cut out: intersection over union with known masks, sureness, and seconds a photo.

Two overlaps: of the mask that is found in the photo; and of the finished cutout, after matting and framing, with what
the true mask would have been framed to. Seconds are the whole cutout's, from the photo's pixels on.

    python benchmarks/segmentation.py [FOLDER ...] [--maker embedded]

Of rendered photos: 26 products of the validation split on white and on grey paper, with a shadow. Then of each FOLDER,
which holds a folder for each photo, with `image.png` and `mask.png` (white where the product is). Last, the seconds for
a photo of 2,000 pixels: the median of five, after one that compiles.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.cutout.foreground import overlap
from mpod_pipeline.cutout.own_alpha import on_page
from mpod_pipeline.cutout.photos import decode_photo
from mpod_pipeline.method.segmentation import (
    SegmentationModels,
    SegmentationParameters,
    cut_by_alpha,
    find_product,
    load_segmentation_models,
    segment,
)
from mpod_pipeline.synthesis.shop import GREY, WHITE, shop_photo, true_mask
from mpod_pipeline.synthesis.views import scene_of, split_members

Sample = tuple[str, NDArray[np.uint8], NDArray[np.bool_]]  # name, photo [H, W, 3], mask [H, W]


def photos_of(folder: Path) -> Iterator[Sample]:
    for path in sorted(folder.glob("*/image.png")):
        photo = on_page(decode_photo(path.read_bytes()))
        height, width = photo.shape[:2]
        mask = np.array(Image.open(path.with_name("mask.png")).convert("L").resize((width, height))) > 127
        yield path.parent.name, photo, mask


def rendered_photos() -> Iterator[Sample]:
    for i, (family, seed) in enumerate(split_members("validation", 26)):
        scene, elevation = scene_of(family, seed)
        backdrop = (WHITE, GREY)[i % 2]
        yield family, shop_photo(scene, elevation, backdrop), true_mask(scene, elevation, backdrop)


def measure(
    title: str, samples: Iterator[Sample], parameters: SegmentationParameters, models: SegmentationModels
) -> None:
    scores = []
    for name, photo, truth in samples:
        ideal = cut_by_alpha(np.dstack([photo, truth * np.uint8(255)]), parameters)
        try:
            start = time.perf_counter()
            cutout = segment(photo, parameters, models)
            seconds = time.perf_counter() - start
            mask = find_product(photo, parameters, models).mask
            scores.append((overlap(mask, truth), overlap(_solid(cutout.picture), _solid(ideal))))
            sure = cutout.confidence
        except ProductError as error:
            print(f"{name}: {error}")
            scores.append((0.0, 0.0))
            sure = seconds = 0.0
        of_mask, of_cutout = scores[-1]
        print(f"{name:24s} mask {of_mask:.3f}  cutout {of_cutout:.3f}  sure {sure:.2f}  {seconds:5.2f} s", flush=True)
    if not scores:
        raise SystemExit(f"no */image.png in {title}")
    for what, of_all in zip(("masks", "cutouts"), zip(*scores, strict=True), strict=True):
        print(f"{title}, {what}: mean IoU {np.mean(of_all):.3f}, lowest {np.min(of_all):.3f}")


def time_large_photo(parameters: SegmentationParameters, models: SegmentationModels) -> None:
    name, photo, _ = next(rendered_photos())
    large = np.array(Image.fromarray(photo).resize((2000, 2000 * photo.shape[0] // photo.shape[1])))
    segment(large, parameters, models)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        size = len(segment(large, parameters, models).picture)
        seconds.append(time.perf_counter() - start)
    height, width = large.shape[:2]
    print(f"{name}, {width} x {height} pixels, a cutout of {size}: {np.median(seconds):.2f} s")


def _solid(cutout: NDArray[np.uint8]) -> NDArray[np.bool_]:
    return cutout[..., 3] >= 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="*", metavar="FOLDER")
    parser.add_argument("--maker", choices=["embedded", "sam"], default="embedded")
    parser.add_argument("--network", type=Path)
    parser.add_argument("--sam-checkpoint", type=Path)
    parser.add_argument("--sam-model-type", default="vit_h")
    arguments = parser.parse_args()
    sam = {"checkpoint": arguments.sam_checkpoint, "model_type": arguments.sam_model_type}
    parameters = SegmentationParameters.model_validate(
        {"maker": arguments.maker, "network": arguments.network, "sam": sam if arguments.sam_checkpoint else None}
    )
    models = load_segmentation_models(parameters)
    measure("rendered", rendered_photos(), parameters, models)
    for folder in arguments.folders:
        measure(str(folder), photos_of(folder), parameters, models)
    time_large_photo(parameters, models)


if __name__ == "__main__":
    main()
