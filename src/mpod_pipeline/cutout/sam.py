"""Segment Anything, asked for the product: prompts found automatically, the best mask chosen by score and by sense."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.cutout.matting import bounding_box

Mask = NDArray[np.bool_]


class SamParameters(Parameters):
    """Which Segment Anything: a checkpoint file of Meta's, and the model type that it belongs to.

    sha256: what the file is expected to hold. device: where the network is to be, as PyTorch names it.
    """

    checkpoint: Path
    model_type: Literal["vit_h", "vit_l", "vit_b"] = "vit_h"
    sha256: str | None = None
    device: str = "cpu"


#: A loaded ``segment_anything.SamPredictor``, which has no types of its own.
Sam = Any


#: Where Meta keeps its checkpoints, by model type.
CHECKPOINTS = {
    "vit_h": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
    "vit_l": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
    "vit_b": "https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
}


def load_sam(parameters: SamParameters) -> Sam:
    """Segment Anything, ready for photos. SetupError where the checkpoint is missing or of another model type."""
    from segment_anything import SamPredictor, sam_model_registry

    from mpod_pipeline.base.weights_files import check_sha256, on_device, read_tensors

    path = parameters.checkpoint
    if not path.is_file():
        raise SetupError(
            f"The Segment Anything checkpoint '{path}' is missing; get it by: "
            f"curl --create-dirs -o '{path}' {CHECKPOINTS[parameters.model_type]} "
            "(or choose the segmentation maker 'embedded')"
        )
    if parameters.sha256:
        check_sha256(path, parameters.sha256)
    model = sam_model_registry[parameters.model_type]()
    try:
        # Not the registry's own loading, which would run any code that a file holds.
        model.load_state_dict(read_tensors(path))
    except RuntimeError as error:
        raise SetupError(
            f"The checkpoint '{path}' is not a Segment Anything model of type "
            f"{parameters.model_type}; set sam.model_type to the type that its file name bears."
        ) from error
    return SamPredictor(on_device(model, parameters.device).eval().requires_grad_(False))


def find_foreground_with_sam(photo: NDArray[np.uint8], sam: Sam, estimate: Mask) -> Mask:
    """The product's mask [H, W] in a photo [H, W, 3], with prompts from an estimate of where it is, [H, W].

    Raises ProductError where no proposed mask makes sense.
    """
    sam.set_image(photo)
    proposals = [
        (mask.astype(bool), float(score))
        for prompt in prompts_from(estimate)
        for mask, score in zip(*sam.predict(**prompt, multimask_output=True)[:2], strict=True)
    ]
    values = [score + sense(mask, estimate) for mask, score in proposals]
    best = int(np.argmax(values))
    if not np.isfinite(values[best]):
        raise ProductError("No product could be found in the photo; take it before a plain background.")
    return proposals[best][0]


def prompts_from(estimate: Mask) -> list[dict[str, NDArray[np.float64]]]:
    """Prompts for ``SamPredictor.predict``: the box, the box with points in the product, and the points alone.

    Points (x, y): three in the depth of the estimate, far from each other; and the photo's corners outside it, as what
    the product is not.
    """
    top, left, bottom, right = bounding_box(estimate)
    box = np.array([left, top, right, bottom], float)
    points = _deep_points(estimate, count=3)
    height, width = estimate.shape
    corners = [(x, y) for x in (1, width - 2) for y in (1, height - 2) if not estimate[y, x]]
    all_points = np.array(points + corners, float)
    labels = np.array([1.0] * len(points) + [0.0] * len(corners))
    return [
        {"box": box},
        {"box": box, "point_coords": all_points, "point_labels": labels},
        {"point_coords": all_points, "point_labels": labels},
    ]


def _deep_points(mask: Mask, count: int) -> list[tuple[int, int]]:
    """Points (x, y) deep inside a mask and far from each other."""
    depth = ndimage.distance_transform_edt(mask)
    points: list[tuple[int, int]] = []
    rows, columns = np.indices(mask.shape)
    for _ in range(count):
        row, column = np.unravel_index(np.argmax(depth), depth.shape)
        points.append((int(column), int(row)))
        depth = np.minimum(depth, np.hypot(rows - row, columns - column) * (depth > 0))
    return points


def sense(mask: Mask, estimate: Mask) -> float:
    """How sensible a mask is as the product's: agreement with the estimate (IoU), less its contact with the border.

    Minus infinity for masks of nothing, of everything, or elsewhere.
    """
    share = mask.mean()
    overlap = (mask & estimate).sum() / max(1, (mask | estimate).sum())
    if share < 0.002 or share > 0.95 or overlap < 0.1:
        return -np.inf
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]]).mean()
    return float(overlap - border)
