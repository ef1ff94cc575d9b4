"""Products from all round to a ControlNet that is shown their silhouettes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from pydantic import Field, PositiveInt
from tqdm import tqdm

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.datasets import Weights, WriteWeights
from mpod_pipeline.pipelines.watching import Curve, watched
from mpod_pipeline.priors import TextToImagePrior, load_mask_controlnet, load_text_to_image_prior
from mpod_pipeline.priors.controlnet import make_mask_control
from mpod_pipeline.priors.train_denoisers import sentence
from mpod_pipeline.priors.train_mask_control import MaskedPictures, control_errors
from mpod_pipeline.priors.train_mask_control import train_mask_control as fit
from mpod_pipeline.priors.training import TrainingParameters
from mpod_pipeline.synthesis.views import photograph_many, split_members


class TrainMaskControlParameters(Parameters):
    """products, validation_products: of the generator. views: of each, from all round."""

    checkpoints: Path = Field(description="where unfinished training is kept")
    products: PositiveInt = 500
    validation_products: PositiveInt = 48
    views: PositiveInt = 3
    workers: PositiveInt = 2
    training: TrainingParameters = TrainingParameters(
        steps=320,
        batch_size=24,
        learning_rate=2e-3,
        warmup_steps=10,
        decay_steps=200,
        ema_decay=0.98,
        checkpoint_every=20,
    )


def train_mask_control(
    text_to_image_prior: Weights, parameters: TrainMaskControlParameters
) -> tuple[WriteWeights, Curve]:
    """What writes the network's folder; and its losses."""
    prior = text_to_image_prior.open(load_text_to_image_prior, precision="float32")
    data = photographed("train", parameters.products, prior, parameters)
    report, curve = watched("mask control")

    shrinks = prior.image_size // int(prior.unet.config.sample_size)
    network = make_mask_control(prior.unet, shrinks).to(prior.device)
    parameters.checkpoints.mkdir(parents=True, exist_ok=True)
    network = fit(prior, network, data, parameters.training, parameters.checkpoints / "mask_control.pt", report)
    return network.half().save_pretrained, curve


def measure_mask_control(
    mask_control: Weights, text_to_image_prior: Weights, parameters: TrainMaskControlParameters
) -> pd.DataFrame:
    """Errors on validation products, see `control_errors`."""
    prior = text_to_image_prior.open(load_text_to_image_prior, precision="float32")
    network = load_mask_controlnet(mask_control.path, prior)
    data = photographed("validation", parameters.validation_products, prior, parameters)
    table = pd.DataFrame([control_errors(prior, network, data)])
    print(table.to_string(index=False))
    return table


def photographed(split: str, products: int, prior: TextToImagePrior, p: TrainMaskControlParameters) -> MaskedPictures:
    """The first products of a split from all round, under their captions."""
    rng = np.random.default_rng(0)
    many = photograph_many(split_members(split, products), p.views, prior.image_size, p.workers)
    pictures, sentences = [], []
    for views in tqdm(many, total=products, desc=f"photograph, {split}"):
        pictures.append(views.pictures)
        directions = zip(views.azimuth_deg, views.elevation_deg, strict=True)
        sentences += [
            sentence(views.caption, float(azimuth), float(elevation), rng) for azimuth, elevation in directions
        ]
    return MaskedPictures.of(prior, np.concatenate(pictures), sentences)
