"""Multi-resolution hash encoding: one interface, made by Numba on a CPU, by plain PyTorch anywhere, by tiny-cuda-nn on
CUDA.
"""

from __future__ import annotations

from mpod_pipeline.fields.hash_encoding.interface import HashEncoding, HashGridParameters
from mpod_pipeline.rendering.backend import Backend

__all__ = ["HashEncoding", "HashGridParameters", "make_hash_encoding"]


def make_hash_encoding(parameters: HashGridParameters, backend: Backend = "numba", *, seed: int = 0) -> HashEncoding:
    """The hash encoding by a backend, its table drawn from `seed`.

    Raises SetupError where the backend's package or device is absent.
    """
    if backend == "cuda_packages":
        from mpod_pipeline.fields.hash_encoding.tinycudann_ import TinyCudaHashEncoding

        return TinyCudaHashEncoding(parameters, seed)
    if backend == "torch":
        from mpod_pipeline.fields.hash_encoding.torch_ import TorchHashEncoding

        return TorchHashEncoding(parameters, seed)
    from mpod_pipeline.fields.hash_encoding.numba_ import NumbaHashEncoding

    return NumbaHashEncoding(parameters, seed)
