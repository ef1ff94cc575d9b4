"""Models of others among what the priors learn from: which there are, and their pictures."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from mpod_pipeline.base.errors import ProductError, SetupError
from mpod_pipeline.datasets import ModelFile, Models, Partitions
from mpod_pipeline.pipelines.train_priors.parameters import TrainPriorsParameters
from mpod_pipeline.synthesis.views import ProductViews, photograph_models

logger = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]
SPLITS = ("train", "validation")


def files_of(models: Models, split: str, parameters: TrainPriorsParameters) -> dict[str, ModelFile]:
    """The files of a split's models by name, which says what was photographed, and how."""
    p = parameters.views
    how = f"{p.shots}x{p.views}x{parameters.architecture.image_size}"
    return {
        f"model-{re.sub(r'[^a-zA-Z0-9_-]', '_', model.name)[:60]}-{_digest(model)}-{how}": model
        for model in models.of_split(split)
    }


def _digest(model: ModelFile) -> str:
    try:
        return model.digest()
    except ProductError:
        return "unreadable"  # which will be told when it is to be photographed


def check_models(models: Models, parameters: TrainPriorsParameters) -> None:
    """Raise SetupError unless there is something to learn, and something to learn it on top of."""
    if models and parameters.start_from is None:
        raise SetupError(
            "Models are learnt on top of finished priors: say which by train_priors.start_from=FOLDER, or teach the "
            "shipped ones by --params=preset=teach,models=FOLDER."
        )
    if models and not models.of_split("train"):
        raise SetupError(
            f"Of the folder's {len(models)} models all are kept aside; say in the column split of models.csv which are "
            "for training (train)."
        )
    if parameters.adapter and not models:
        raise SetupError("An adapter learns from a folder of models: say which by --params=models=FOLDER.")


def photograph_missing(
    parameters: TrainPriorsParameters, made: Partitions, models: Models
) -> Iterator[dict[str, Arrays]]:
    p = parameters.views
    files = {name: model for split in SPLITS for name, model in files_of(models, split, parameters).items()}
    missing = {name: model for name, model in files.items() if name not in made}
    shots = photograph_models(list(missing.values()), p.shots, p.views, parameters.architecture.image_size, p.workers)
    bar = tqdm(zip(missing.items(), shots, strict=True), total=len(missing), desc="photograph models")
    for (name, model), views in bar:
        if isinstance(views, ProductError):
            logger.warning("The model %s is left out. %s", model.name, views)
        else:
            yield {name: as_arrays(views)}
    if models and not any(name in made for name in files_of(models, "train", parameters)):
        raise SetupError("Of the models for training none could be photographed; the warnings above say why.")


def as_arrays(products: list[ProductViews]) -> Arrays:
    names = ("pictures", "azimuth_deg", "elevation_deg", "caption", "family", "seed")
    return {name: np.array([getattr(views, name) for views in products]) for name in names}
