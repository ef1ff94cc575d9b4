"""Products from all round and from all heights, to a network that tells the heights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from torch import Tensor
from tqdm import tqdm

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.cutout.matting import frame
from mpod_pipeline.datasets import Partitions
from mpod_pipeline.pipelines.watching import Curve, watched
from mpod_pipeline.priors.elevation import SIZE, expected, network_input, network_of
from mpod_pipeline.priors.train_elevation import ElevationTraining
from mpod_pipeline.priors.train_elevation import train_elevation as fit
from mpod_pipeline.synthesis.views import photograph_many, split_members

#: Of the product's long side in a cutout's frame, as `segment` makes them.
SHARE = 0.8
#: Pixels of the pictures that cutouts are made of.
PHOTO_SIZE = 112


class TrainElevationParameters(Parameters):
    """products, validation_products: of the generator, all kinds and compounds. views: of each, from all round."""

    products: PositiveInt = 3000
    validation_products: PositiveInt = 240
    views: PositiveInt = 7
    workers: PositiveInt = 2
    training: ElevationTraining = ElevationTraining()


def train_elevation(parameters: TrainElevationParameters) -> tuple[dict[str, dict[str, NDArray[np.float16]]], Curve]:
    """The network's weights by name, as the one file of their folder; and its losses."""
    pictures, elevations, _ = cut_out("train", parameters.products, parameters)
    report, curve = watched("elevation")

    network = fit(pictures, elevations, parameters.training, report)
    weights = {name: tensor.half().numpy() for name, tensor in network.state_dict().items() if tensor.ndim}
    return {"elevation": weights}, curve


def measure_elevation(network: Partitions, parameters: TrainElevationParameters) -> pd.DataFrame:
    """The mean error in degrees on validation products: of their photos (from the front) and of all views; and of who
    always says 10 degrees.
    """
    told = network_of(network["elevation"]())
    pictures, elevations, azimuths = cut_out("validation", parameters.validation_products, parameters)
    with torch.no_grad():
        answers = told(pictures)
    error = (torch.tensor([expected(answer) for answer in answers.tolist()]) - elevations).abs()
    fronts = azimuths == 0
    rows = [
        ("photos", float(error[fronts].mean()), float((elevations[fronts] - 10).abs().mean())),
        ("all views", float(error.mean()), float((elevations - 10).abs().mean())),
    ]
    table = pd.DataFrame(rows, columns=["of", "mean_error_deg", "of_always_10_deg"])
    print(table.to_string(index=False))
    return table


def cut_out(split: str, products: int, p: TrainElevationParameters) -> tuple[Tensor, Tensor, Tensor]:
    """What the network sees of products [N, 4, S, S], and their cameras' elevations and azimuths, [N] each."""
    members = split_members(split, products, more_kinds=True)
    many = tqdm(photograph_many(members, p.views, PHOTO_SIZE, p.workers), total=products, desc=f"photograph, {split}")
    cutouts = [each for views in many for each in _framed(views.pictures, views.elevation_deg, views.azimuth_deg)]
    pictures, elevations, azimuths = zip(*cutouts, strict=True)
    return network_input(np.stack(pictures)), torch.tensor(elevations), torch.tensor(azimuths)


def _framed(
    pictures: np.ndarray, elevations: np.ndarray, azimuths: np.ndarray
) -> Iterator[tuple[np.ndarray, float, float]]:
    for picture, elevation, azimuth in zip(pictures, elevations, azimuths, strict=True):
        with suppress(ProductError):  # a line from this side
            yield frame(picture, size=SIZE, share=SHARE), float(elevation), float(azimuth)
