"""Products from all round and from all heights, to a network that tells the heights."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import PositiveInt
from tqdm import tqdm

from mpod_pipeline.base.errors import ProductError
from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.cutout.matting import frame
from mpod_pipeline.datasets import Partitions
from mpod_pipeline.metrics.encoders import load_efficientnet_lite0
from mpod_pipeline.pipelines.watching import Curve, watched
from mpod_pipeline.priors.elevation import SIZE, USUAL, network_of
from mpod_pipeline.priors.train_elevation import ElevationTraining
from mpod_pipeline.priors.train_elevation import train_elevation as fit
from mpod_pipeline.rendering.cameras import Cameras
from mpod_pipeline.synthesis.views import VIEW_ELEVATION, by_several, scene_of, split_members

FloatArray = NDArray[np.float32]

#: Of the product's long side in a cutout's frame, as `segment` makes them.
SHARE = 0.8
#: Pixels of the pictures that cutouts are made of.
PHOTO_SIZE = 112
#: Azimuths from which half of the views are, degrees: most photos are of a front.
FRONT = (-30.0, 30.0)
#: Products that a process takes at a time, and cutouts that the network does.
CHUNK, BATCH = 8, 64


class TrainElevationParameters(Parameters):
    """products, validation_products: of the generator, all kinds and compounds. views: of each, half of them from about
    the front.
    """

    products: PositiveInt = 6900
    validation_products: PositiveInt = 300
    views: PositiveInt = 6
    workers: PositiveInt = 2
    training: ElevationTraining = ElevationTraining()


def train_elevation(parameters: TrainElevationParameters) -> tuple[dict[str, dict[str, NDArray[np.float16]]], Curve]:
    """The network's weights by name, as the one file of their folder; and its losses."""
    cutouts, elevations, _ = cut_out("train", parameters.products, parameters)
    report, curve = watched("elevation")
    backbone = load_efficientnet_lite0().network
    network = fit(backbone, cutouts, torch.from_numpy(elevations), parameters.training, report)
    weights = {name: tensor.half().numpy() for name, tensor in network.state_dict().items()}
    return {"elevation": weights}, curve


def measure_elevation(network: Partitions, parameters: TrainElevationParameters) -> pd.DataFrame:
    """The mean error in degrees on validation products: of their photos (from the front) and of all views; and of who
    always says 10 degrees.
    """
    told = network_of(network["elevation"]())
    cutouts, elevations, azimuths = cut_out("validation", parameters.validation_products, parameters)
    answers = torch.cat([told.estimates(some) for some in np.array_split(cutouts, len(cutouts) // BATCH + 1)]).numpy()
    error, constant = abs(answers - elevations), abs(USUAL - elevations)
    rows = [
        (name, error[of].mean(), constant[of].mean()) for name, of in (("photos", azimuths == 0), ("all views", ...))
    ]
    table = pd.DataFrame(rows, columns=["of", "mean_error_deg", "of_always_10_deg"])
    print(table.to_string(index=False))
    return table


def cut_out(split: str, products: int, p: TrainElevationParameters) -> tuple[NDArray[np.uint8], FloatArray, FloatArray]:
    """Cutouts of products [N, S, S, 4], and their cameras' elevations and azimuths, [N] each."""
    members = split_members(split, products, more_kinds=True)
    many = by_several(partial(photographed, p.views, split != "train"), members, p.workers, CHUNK)
    cutouts = [each for views in tqdm(many, total=products, desc=f"photograph, {split}") for each in views]
    pictures, elevations, azimuths = zip(*cutouts, strict=True)
    return np.stack(pictures), np.array(elevations, np.float32), np.array(azimuths, np.float32)


def photographed(views: int, with_photo: bool, member: tuple[str, int]) -> list[tuple[NDArray[np.uint8], float, float]]:
    """Pictures of a product from any height, half of them from about its front, cut out; of each its camera's elevation
    and azimuth. with_photo: the first is the product's photo.
    """
    scene, photo_elevation = scene_of(*member)
    rng = np.random.default_rng([member[1], 29])
    half = views // 2
    front = rng.uniform(*FRONT, views - half)
    all_round = (np.arange(half) + rng.uniform(0, 1, half)) * 360 / half - 180  # stratified
    azimuths = np.concatenate([front, all_round])
    elevations = rng.uniform(*VIEW_ELEVATION, views)
    if with_photo:
        azimuths[0], elevations[0] = 0.0, photo_elevation
    pictures = scene.photograph(Cameras.at(azimuths.tolist(), elevations.tolist()), PHOTO_SIZE)
    made = []
    for picture, elevation, azimuth in zip(pictures, elevations, azimuths, strict=True):
        with suppress(ProductError):  # a line from this side
            made.append((frame(picture, size=SIZE, share=SHARE), float(elevation), float(azimuth)))
    return made
