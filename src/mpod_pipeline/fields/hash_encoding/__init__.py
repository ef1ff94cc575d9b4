"""Multi-resolution hash encoding: one interface, made by Numba on a CPU, by plain PyTorch
anywhere, by tiny-cuda-nn on CUDA."""

from mpod_pipeline.fields.hash_encoding.factory import make_hash_encoding
from mpod_pipeline.fields.hash_encoding.interface import HashEncoding, HashGridParameters

__all__ = ["HashEncoding", "HashGridParameters", "make_hash_encoding"]
