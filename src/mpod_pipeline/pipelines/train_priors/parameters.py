"""What may be set of the priors' training."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt, model_validator

from mpod_pipeline.parameters import Parameters
from mpod_pipeline.priors.architecture import ArchitectureParameters
from mpod_pipeline.priors.train_autoencoder import AutoencoderTraining
from mpod_pipeline.priors.train_denoisers import DenoiserTraining


class ViewsParameters(Parameters):
    """How many procedural products are photographed, and from how many sides."""

    train_products: PositiveInt
    validation_products: PositiveInt
    views: PositiveInt = Field(12, ge=2, description="pictures of a product, the photo among them")
    products_per_file: PositiveInt = 240
    workers: PositiveInt = 2


class TrainPriorsParameters(Parameters):
    """The whole training. A run goes on from the checkpoints that it finds."""

    checkpoints: Path = Field(description="where unfinished training is kept")
    start_from: Path | None = Field(
        None,
        description="a folder of both priors to go on from, nearly keeping their latents; null: from nothing",
    )
    take_novel_view_layers: bool = Field(
        False,
        description="with start_from: its text_to_image goes on with the layers of its novel_view's U-Net",
    )
    device: str = Field("cpu", description="where networks are trained, as PyTorch names it")
    views: ViewsParameters
    architecture: ArchitectureParameters = ArchitectureParameters()
    vocabulary: PositiveInt = 1200
    autoencoder: AutoencoderTraining
    text_to_image: DenoiserTraining
    novel_view: DenoiserTraining

    @model_validator(mode="after")
    def layers_are_taken_from_somewhere(self) -> TrainPriorsParameters:
        if self.take_novel_view_layers and self.start_from is None:
            raise ValueError("take_novel_view_layers needs start_from, the folder whose novel_view has them")
        return self
