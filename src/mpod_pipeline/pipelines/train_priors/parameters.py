"""What may be set of the priors' training."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, PositiveInt, model_validator

from mpod_pipeline.base.parameters import Parameters
from mpod_pipeline.priors.adapters import AdapterParameters
from mpod_pipeline.priors.architecture import ArchitectureParameters
from mpod_pipeline.priors.train_autoencoder import AutoencoderTraining
from mpod_pipeline.priors.train_denoisers import DenoiserTraining
from mpod_pipeline.priors.training import TrainingParameters


class ViewsParameters(Parameters):
    """How many procedural products are photographed, and from how many sides."""

    train_products: PositiveInt
    validation_products: PositiveInt
    views: PositiveInt = Field(12, ge=2, description="pictures of a product, the photo among them")
    more_kinds: bool = Field(False, description="products of the kinds in synthesis/recipes.yml, too")
    products_per_file: PositiveInt = 240
    shots: PositiveInt = Field(4, description="studios in which each model of a folder is photographed")
    workers: PositiveInt = 2


class DepthTraining(TrainingParameters):
    """The depth network's, and of how many products in how many views it learns."""

    train_products: PositiveInt = 3000
    views: PositiveInt = 8


class TrainPriorsParameters(Parameters):
    """The whole training. A run goes on from the checkpoints that it finds."""

    checkpoints: Path = Field(description="where unfinished training is kept")
    start_from: Path | None = Field(
        None, description="a folder of both priors to go on from, nearly keeping their latents; null: from nothing"
    )
    take_novel_view_layers: bool = Field(
        False, description="with start_from: its text_to_image goes on with the layers of its novel_view's U-Net"
    )
    device: str = Field("cpu", description="where networks are trained, as PyTorch names it")
    adapter: AdapterParameters | None = Field(None, description="what learns on top of start_from; null: all weights")
    known_share: float = Field(0.5, gt=0, lt=1, description="of each batch, beside models: products of the generator")
    views: ViewsParameters
    architecture: ArchitectureParameters = ArchitectureParameters()
    vocabulary: PositiveInt = 1200
    autoencoder: AutoencoderTraining | None = Field(description="null: that of start_from stays as it is")
    depth: DepthTraining | None = Field(None, description="null: the depth network of start_from stays as it is")
    text_to_image: DenoiserTraining
    novel_view: DenoiserTraining

    @model_validator(mode="after")
    def layers_are_taken_from_somewhere(self) -> TrainPriorsParameters:
        if self.take_novel_view_layers and self.start_from is None:
            raise ValueError("take_novel_view_layers needs start_from, the folder whose novel_view has them")
        return self

    @model_validator(mode="after")
    def what_stays_comes_from_somewhere(self) -> TrainPriorsParameters:
        if self.start_from is None and (self.adapter or self.autoencoder is None or self.depth is None):
            raise ValueError(
                "adapter, and no autoencoder or depth network, need start_from, the folder of priors that they are of"
            )
        if self.adapter and self.autoencoder is not None:
            raise ValueError("with adapter the autoencoder has to stay as it is: set autoencoder to null")
        return self
