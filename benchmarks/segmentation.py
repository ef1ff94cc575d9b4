"""How well products are cut out: intersection over union with known masks, and seconds a photo.

    python benchmarks/segmentation.py FOLDER [--maker embedded]

FOLDER holds a folder for each photo, with `image.png` and `mask.png` (white where the product is).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from mpod_pipeline.errors import ProductError
from mpod_pipeline.method.photos import decode_photo
from mpod_pipeline.method.segmentation import (
    SegmentationParameters,
    find_product,
    load_segmentation_models,
    on_white,
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--maker", choices=["embedded", "sam"], default="embedded")
    parser.add_argument("--sam-checkpoint", type=Path)
    parser.add_argument("--sam-model-type", default="vit_h")
    arguments = parser.parse_args()
    sam = {"checkpoint": arguments.sam_checkpoint, "model_type": arguments.sam_model_type}
    parameters = SegmentationParameters.model_validate(
        {"maker": arguments.maker, "sam": sam if arguments.sam_checkpoint else None}
    )
    models = load_segmentation_models(parameters)
    scores = []
    for image_path in sorted(arguments.folder.glob("*/image.png")):
        photo = on_white(decode_photo(image_path.read_bytes()))
        height, width = photo.shape[:2]
        truth = (
            np.array(Image.open(image_path.with_name("mask.png")).convert("L").resize((width, height))) > 127
        )
        start = time.perf_counter()
        try:
            mask = find_product(photo, parameters, models)
        except ProductError as error:
            print(f"{image_path.parent.name}: {error}")
            mask = np.zeros_like(truth)
        seconds = time.perf_counter() - start
        scores.append((mask & truth).sum() / max(1, (mask | truth).sum()))
        print(f"{image_path.parent.name:24s} IoU {scores[-1]:.3f}  {seconds:5.2f} s")
    if not scores:
        raise SystemExit(f"no */image.png in {arguments.folder}")
    print(f"{'mean':24s} IoU {np.mean(scores):.3f}  lowest {np.min(scores):.3f}")


if __name__ == "__main__":
    main()
