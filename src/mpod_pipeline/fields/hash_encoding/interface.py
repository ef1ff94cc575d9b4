"""The multi-resolution hash encoding of Instant-NGP (Mueller et al., 2022): what every backend of it provides.

A level is a grid over the unit cube whose vertices carry ``features_per_level`` learned numbers; a point's
feature is the trilinear interpolation of its cell's eight corners, and the levels' features stand side by
side. A level whose vertices fit the table is stored densely; a finer one shares the table's entries by the
spatial hash ``(x * 1) xor (y * 2654435761) xor (z * 805459861)``, modulo the table's size.

Grid scale, rounding, order of entries and the table's start are tiny-cuda-nn's
(``include/tiny-cuda-nn/encodings/grid.h``), so a table means the same function with every backend.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn
from typing_extensions import Self

from mpod_pipeline.base.parameters import Parameters

#: Factors of the spatial hash, for x, y and z.
HASH_PRIMES = (1, 2654435761, 805459861)

#: Half-width of the uniform distribution that a table starts from (Instant-NGP, section 4).
INITIAL_FEATURE = 1e-4


class HashGridParameters(Parameters):
    """Shape of a hash grid. Resolutions count grid vertices along an edge of the unit cube."""

    levels: int = Field(default=12, ge=1, le=32)
    features_per_level: Literal[2, 4, 8] = 2
    log2_table_size: int = Field(default=16, ge=4, le=24, description="log2 of the entries that one level has at most")
    base_resolution: int = Field(default=16, ge=2)
    finest_resolution: int = Field(default=256, ge=2, le=65536)

    @model_validator(mode="after")
    def _finest_is_not_coarser(self) -> Self:
        if self.finest_resolution < self.base_resolution:
            raise ValueError("finest_resolution must be at least base_resolution")
        return self

    @property
    def output_dim(self) -> int:
        return self.levels * self.features_per_level

    @property
    def growth(self) -> float:
        """Ratio of the resolutions of neighbouring levels."""
        if self.levels == 1:
            return 1.0
        return float((self.finest_resolution / self.base_resolution) ** (1 / (self.levels - 1)))


@dataclass(frozen=True)
class HashGridLayout:
    """Where each of L levels lies in the table of all entries, and how it is indexed."""

    scale: NDArray[np.float32]  # [L], cells per unit length
    resolution: NDArray[np.int64]  # [L], vertices along an edge
    offset: NDArray[np.int64]  # [L + 1], first entry of each level; the last one is the number of entries

    @classmethod
    def of(cls, parameters: HashGridParameters) -> HashGridLayout:
        # float32 as in tiny-cuda-nn, whose rounding decides the resolution
        exponent = np.arange(parameters.levels, dtype=np.float32) * np.float32(np.log2(parameters.growth))
        scale = np.exp2(exponent) * np.float32(parameters.base_resolution) - np.float32(1)
        resolution = np.ceil(scale).astype(np.int64) + 1
        dense_entries = (resolution**3 + 7) // 8 * 8
        entries = np.minimum(dense_entries, 1 << parameters.log2_table_size)
        return cls(scale, resolution, np.concatenate([[0], np.cumsum(entries)]).astype(np.int64))

    @property
    def n_entries(self) -> int:
        return int(self.offset[-1])

    def is_dense(self, level: int) -> bool:
        entries = int(self.offset[level + 1] - self.offset[level])
        return int(self.resolution[level]) ** 3 <= entries


class HashEncoding(nn.Module, ABC):
    """A hash encoding: a module whose only parameter is the table of features."""

    output_dim: int  # levels * features_per_level
    table: Tensor  # [n_entries, features_per_level], in the order of `HashGridLayout`; the module's own memory

    @abstractmethod
    def forward(self, points: Tensor) -> Tensor:
        """Encode points [N, 3] of the unit cube to float32 [N, output_dim].

        Differentiable once, to the table and to the points. Points outside are moved onto the cube's surface.
        """


def initial_table(parameters: HashGridParameters, seed: int) -> Tensor:
    """The features that training starts from, [n_entries, features_per_level]."""
    generator = torch.Generator().manual_seed(seed)
    shape = (HashGridLayout.of(parameters).n_entries, parameters.features_per_level)
    return torch.empty(shape).uniform_(-INITIAL_FEATURE, INITIAL_FEATURE, generator=generator)


class TableEncoding(HashEncoding):
    """An encoding whose table is a parameter of its own, in float32."""

    def __init__(self, parameters: HashGridParameters, seed: int = 0) -> None:
        super().__init__()
        self.layout = HashGridLayout.of(parameters)
        self.output_dim = parameters.output_dim
        self.table = nn.Parameter(initial_table(parameters, seed))
