"""The hash encoding on a CUDA device: tiny-cuda-nn.

Written against ``tinycudann.Encoding(n_input_dims, encoding_config, seed=1337, dtype=None)`` of
``bindings/torch/tinycudann/modules.py`` in NVlabs/tiny-cuda-nn, the same at commits 07bacc5 and 645c596:
``forward(x)`` takes float32 [N, 3] on the device, ``params`` is the flat table, ``n_output_dims`` the width of
the result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpod_pipeline.errors import SetupError
from mpod_pipeline.fields.hash_encoding.interface import HashEncoding, HashGridParameters, initial_table


def _tinycudann() -> Any:
    if not torch.cuda.is_available():
        raise SetupError("The hash encoding's maker 'cuda' needs a CUDA device; choose the maker 'cpu'.")
    try:
        import tinycudann
    except (ImportError, OSError) as error:
        raise SetupError(
            f"The hash encoding's maker 'cuda' needs tinycudann, built for this GPU ({error}): see "
            "docs/gpu.md, or choose the maker 'cpu'."
        ) from error
    return tinycudann


class TinyCudaHashEncoding(HashEncoding):
    """The GPU's maker. Half precision inside, as tiny-cuda-nn prefers it; the table itself is float32."""

    def __init__(self, parameters: HashGridParameters, seed: int = 0) -> None:
        super().__init__()
        config = {
            "otype": "HashGrid",
            "n_levels": parameters.levels,
            "n_features_per_level": parameters.features_per_level,
            "log2_hashmap_size": parameters.log2_table_size,
            "base_resolution": parameters.base_resolution,
            "per_level_scale": parameters.growth,
            "interpolation": "Linear",
        }
        self.output_dim = parameters.output_dim
        self.features_per_level = parameters.features_per_level
        self.encoding = _tinycudann().Encoding(n_input_dims=3, encoding_config=config, seed=seed)
        with torch.no_grad():
            self.table.copy_(initial_table(parameters, seed))

    @property
    def table(self) -> Tensor:  # type: ignore[override]
        params: Tensor = self.encoding.params
        return params.view(-1, self.features_per_level)

    def forward(self, points: Tensor) -> Tensor:  # [N, 3] -> [N, output_dim]
        encoded: Tensor = self.encoding(points.clamp(0, 1))
        return encoded.float()
