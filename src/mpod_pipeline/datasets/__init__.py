"""Kedro datasets for what Kedro has none for: one file per product, a folder of photos, weights, earlier results."""

from mpod_pipeline.base.weights import Weights
from mpod_pipeline.datasets.decisions import DecisionsTable
from mpod_pipeline.datasets.folder import FolderOfFiles
from mpod_pipeline.datasets.history import History, HistoryDataset, StepRecords, connect_history, is_history
from mpod_pipeline.datasets.models import ModelFile, ModelFolder, Models
from mpod_pipeline.datasets.partitions import (
    MeshPartitions,
    Partition,
    Partitions,
    PicturePartitions,
    ProductPartitions,
)
from mpod_pipeline.datasets.photos import FurtherPhotos, PhotoFolder, PhotoMasks, Photos, ProductSettings
from mpod_pipeline.datasets.tables import ProductTable
from mpod_pipeline.datasets.weights import WeightsFolder, WriteWeights

__all__ = [
    "DecisionsTable",
    "FolderOfFiles",
    "FurtherPhotos",
    "History",
    "HistoryDataset",
    "MeshPartitions",
    "ModelFile",
    "ModelFolder",
    "Models",
    "Partition",
    "Partitions",
    "PhotoFolder",
    "PhotoMasks",
    "Photos",
    "PicturePartitions",
    "ProductPartitions",
    "ProductSettings",
    "ProductTable",
    "StepRecords",
    "Weights",
    "WeightsFolder",
    "WriteWeights",
    "connect_history",
    "is_history",
]
