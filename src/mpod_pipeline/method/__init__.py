"""The method of the paper: `steps` has its steps in order, `reconstruct` takes one photo through them."""

from mpod_pipeline.method.reconstruct import Reconstruction, reconstruct

__all__ = ["Reconstruction", "reconstruct"]
