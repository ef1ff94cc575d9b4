"""The paper's method: one product from its photos to a scored 3D model.

`reconstruct` does all of it in one call. `steps` declares the seven steps in their order; each is a module there, which
has its settings, loads its models, and makes one product's artifacts. Each algorithm is a file in this folder, named
for what it does (`segmentation`, `textual_inversion`, `outline`, `masks`, `detail`, `export`, `evaluation`). Nothing
here knows Kedro or a batch of products.
"""

from mpod_pipeline.method.reconstruct import Reconstruction, reconstruct

__all__ = ["Reconstruction", "reconstruct"]
