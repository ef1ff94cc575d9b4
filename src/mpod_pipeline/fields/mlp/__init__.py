"""Networks of one hidden layer: one interface, made by PyTorch on a CPU, by tiny-cuda-nn on CUDA."""

from mpod_pipeline.fields.mlp.factory import make_mlp
from mpod_pipeline.fields.mlp.interface import MLP

__all__ = ["MLP", "make_mlp"]
