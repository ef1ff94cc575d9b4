"""The hash encoding on a CUDA device: tiny-cuda-nn.

Written against ``tinycudann.Encoding(n_input_dims, encoding_config, seed=1337, dtype=None)`` of
``bindings/torch/tinycudann/modules.py`` in NVlabs/tiny-cuda-nn, the same at commits 07bacc5 and 645c596: ``forward(x)``
takes float32 [N, 3] on the device, ``params`` is the flat table, ``n_output_dims`` the width of the result.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mpod_pipeline.base.errors import SetupError
from mpod_pipeline.fields.hash_encoding.interface import HashEncoding, HashGridParameters, initial_table


def _tinycudann() -> Any:
    """The package. Raises SetupError where it or a device is absent."""
    if not torch.cuda.is_available():
        raise SetupError("tinycudann, for the hash encoding, needs a CUDA device; choose the backend 'torch'.")
    try:
        import tinycudann
    except (ImportError, OSError) as error:
        raise SetupError(
            f"The backend 'cuda_packages' makes the hash encoding with tinycudann, built for this GPU ({error}): see "
            "docs/gpu.md, or choose the backend 'torch', which does not need it."
        ) from error
    return tinycudann


class TinyCudaHashEncoding(HashEncoding):
    """tiny-cuda-nn's kernels, in float32 (as threestudio has it): in half precision small gradients become nought."""

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
        self.encoding = _tinycudann().Encoding(3, config, seed=seed, dtype=torch.float32)
        with torch.no_grad():
            self.table.copy_(initial_table(parameters, seed))

    @property
    def table(self) -> Tensor:  # type: ignore[override]
        params: Tensor = self.encoding.params
        return params.view(-1, self.features_per_level)

    def forward(self, points: Tensor) -> Tensor:  # [N, 3] -> [N, output_dim]
        if len(points) == 0:  # its kernels are not launched on nothing
            return points.new_zeros(0, self.output_dim)
        return self.encoding(points.clamp(0, 1))
